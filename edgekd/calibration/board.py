"""Calibrating a board: five reference graphs timed there, and the rates of its profile fitted to them."""

import datetime
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import yaml

from edgekd.calibration.reference_graphs import REFERENCE_GRAPHS
from edgekd.device import DeviceProfile, Rates, resolve
from edgekd.errors import UsageError
from edgekd.figures import Bench
from edgekd.latency.calibration import Measurement, band, fit, left_out, predicted
from edgekd.latency.graph import Precision
from edgekd.latency.optimised import summarise_file
from edgekd.latency.predictor import work_of
from edgekd.latency.x86 import is_x86_profile
from edgekd.own_profiles import own_profile_file
from edgekd.places.timing import bench
from edgekd.progress import Listener, Tick, silent
from edgekd.workspace import write_atomic

_PRIOR = 0.25
"""Measurements of this very board that the rates from before count for."""
_NARROWEST = 1.05
"""No band is narrower: other networks differ from the reference graphs by more than these among themselves."""
SUFFIX = "-calibrated"


@dataclass(frozen=True)
class Calibrated:
    """A profile with fitted rates, the file it was written to, and measured over fitted latency of every run."""

    profile: DeviceProfile
    file: Path
    residuals: dict[str, float]


def calibrate_board(name: str, *, on: str, out: Path | None = None, listen: Listener = silent) -> Calibrated:
    """Run the reference graphs on a place at one thread and at the profile's, fit the rates of the profile `name` to
    them, and write it as NAME-calibrated among the user's own profiles, or to `out`.

    Raises:
        UsageError: an unknown device or place, or an `out` that is no YAML file.
        PlaceLost: the place went away.
    """
    profile = resolve(name).profile
    if out is not None and out.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{out.name}: a device profile is a .yaml file.")
    rows: list[Measurement] = []
    runs = [(title, threads) for title in REFERENCE_GRAPHS for threads in sorted({1, profile.latency.threads})]
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        for done, (title, threads) in enumerate(runs):
            listen(Tick("reference graphs", done, len(runs), f"{title}, {threads} threads"))
            path = Path(folder) / f"{title}.onnx"
            onnx.save(REFERENCE_GRAPHS[title](), path)
            taken = bench(path, on=on, threads=threads, min_runs=20, min_seconds=1.0, max_seconds=20.0)
            rows.append(measurement(title, path, profile, threads, taken.latency.p50_ms.value))
    calibrated = recalibrated(profile, rows, _described(taken, on))
    file = out or own_profile_file(calibrated.name)
    write_profile(calibrated, file)
    ratios = [row.milliseconds / predicted(row, calibrated.latency) for row in rows]
    residuals = {f"{title}, {threads} threads": ratio for (title, threads), ratio in zip(runs, ratios, strict=True)}
    return Calibrated(calibrated, file, residuals)


def measurement(title: str, model: Path, profile: DeviceProfile, threads: int, milliseconds: float) -> Measurement:
    """What a reference graph took, with the instructions that it is expected to execute."""
    summary = summarise_file(model, arm=not is_x86_profile(profile))
    works = tuple(work_of(node, profile.latency.level) for node in summary.nodes)
    precision: Precision = "int8" if title.endswith("_int8") else "fp32"
    return Measurement(title, works, precision, threads, milliseconds)


def recalibrated(profile: DeviceProfile, rows: Sequence[Measurement], how: str) -> DeviceProfile:
    """Return the profile with rates fitted to what was measured, and bands from graphs left out of the fit.

    Args:
        how: when, where and with what it was measured, as a source says it.
    """
    latency = fit(rows, profile.latency, prior=_PRIOR)
    sources, update = dict(profile.sources), dict[str, Rates]()
    for precision, rates in (("fp32", latency.fp32), ("int8", latency.int8)):
        mine = [row for row in rows if row.precision == precision]
        low, high = band(left_out(mine, profile.latency, prior=_PRIOR))
        low, high = min(low, 1 / _NARROWEST), max(high, _NARROWEST)
        update[precision] = rates.model_copy(
            update={"low": round(low, 3), "high": round(high, 3), "carried_from": None}
        )
        ratios = ", ".join(
            f"{row.net} at {row.threads} {row.milliseconds / predicted(row, latency):.2f}" for row in mine
        )
        sources[f"latency.{precision}"] = f"{how}; measured over fitted: {ratios}; band: graphs left out of the fit"
    return profile.model_copy(
        update={
            "name": profile.name.removesuffix(SUFFIX) + SUFFIX,
            "title": f"{profile.title.removesuffix(', calibrated')}, calibrated",
            "latency": latency.model_copy(update=update),
            "checked": (),
            "sources": sources,
        }
    )


def write_profile(profile: DeviceProfile, file: Path) -> None:
    """Write a profile as YAML, whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    left_out = {"checked"} if "numerics" in profile.sources else {"checked", "numerics"}
    content = profile.model_dump(mode="json", exclude=left_out, exclude_none=True)
    write_atomic(file, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120).encode())


def _described(bench: Bench, on: str) -> str:
    board = str(bench.environment.get("cpu") or "unknown processor")[:80]
    return (
        f"calibrated {datetime.date.today().isoformat()} on {on} ({board}), {bench.runtime} {bench.runtime_version}, "
        "five reference graphs built by code, medians of wall time"
    )
