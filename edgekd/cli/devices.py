"""List device profiles, show one with the source of every figure, or calibrate one.

\b
Examples:
  edgekd devices
  edgekd devices show raspberry-pi-4
  edgekd devices calibrate host
  edgekd devices calibrate raspberry-pi-4 --on ssh://pi@board
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

import typer
from rich.padding import Padding
from rich.table import Table

from edgekd.cli.tables import console, print_json, table
from edgekd.device import DeviceProfile
from edgekd.errors import UsageError
from edgekd.rendering.text import quantity


def command(
    action: str = typer.Argument("list", help="list, show or calibrate."),
    name: str | None = typer.Argument(None, help="Device to show or calibrate."),
    on: str | None = typer.Option(None, help="Where the device to calibrate is: ssh://USER@HOST, adb://SERIAL."),
    out: Path | None = typer.Option(None, help="File of the calibration, instead of one among your own profiles."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Print the profiles."""
    from edgekd.api import devices
    from edgekd.device import aliases_of, resolve

    if action not in ("list", "show", "calibrate") or (action != "list") != (name is not None):
        raise UsageError("Write `edgekd devices list`, `... show NAME`, or `... calibrate NAME --on PLACE`.")
    if action != "calibrate" and (on or out):
        raise UsageError("--on and --out belong to `edgekd devices calibrate NAME`.")
    if name is not None and action == "calibrate":
        return _calibrate(name, on, out, quiet=quiet, as_json=as_json)
    if name is not None:
        resolved = resolve(name)
        if as_json:
            decided = [one.model_dump() for one in resolved.profile.decisions()]
            described = {**resolved.profile.model_dump(mode="json"), "decisions": decided}
            return print_json({"schema": 1, "note": resolved.note, **described})
        return _show(resolved.profile, resolved.note)
    profiles = devices()
    if as_json:
        return print_json({"schema": 1, "devices": [p.model_dump(mode="json") for p in profiles]})
    rows = table("device", "processor", "memory", "fp32 known from", "int8 known from", "other names")
    for at in (1, 3, 4, 5):
        rows.columns[at].justify = "left"
    for p in profiles:
        memory = quantity(p.memory_mib * 1024, "KiB")
        processor = f"{p.cores}x {p.core}, {p.clock_ghz:g} GHz"
        rows.add_row(p.name, processor, memory, *_known_from(p), ", ".join(aliases_of(p.name)))
    screen = console()
    screen.print(rows)
    screen.print("edgekd devices show NAME: its runtimes and numerics, and the source of every figure", soft_wrap=True)


def _calibrate(name: str, on: str | None, out: Path | None, *, quiet: bool, as_json: bool) -> None:
    from edgekd.api import calibrate
    from edgekd.calibration.board import Calibrated
    from edgekd.cli.console import make_listener

    found = calibrate(name, on=on, out=out, listen=make_listener(quiet=quiet, verbose=False))
    if isinstance(found, Calibrated):
        if as_json:
            residuals = {"residuals": found.residuals, "file": str(found.file)}
            return print_json({"schema": 1, **found.profile.model_dump(mode="json"), **residuals})
        rows = table("reference graph", "measured over fitted")
        for title, ratio in found.residuals.items():
            rows.add_row(title, f"{ratio:.2f}")
        console().print(rows)
        return console().print(f"{found.profile.name}: {found.file}", soft_wrap=True, markup=False)
    if as_json:
        return print_json(found.model_dump(mode="json", by_alias=True, exclude={"fp32", "int8"}))
    console().print(
        f"{found.graphs} networks; left out of the fit they are off by a median of {found.median_error:.1%}, and nine "
        f"of ten took {found.low:.2f} to {found.high:.2f} of what was predicted",
        soft_wrap=True,
    )


def _known_from(profile: DeviceProfile) -> Iterator[str]:
    """What the estimates of either precision rest on: published figures, or those of another device, scaled."""
    for precision, rates in (("fp32", profile.latency.fp32), ("int8", profile.latency.int8)):
        errors = [abs(one.error) for one in profile.checked if one.precision == precision]
        if errors:
            yield f"{len(errors)} published, {median(errors):.0%} off"
        else:
            yield rates.carried_from or "a guess"


def _show(profile: DeviceProfile, note: str | None) -> None:
    out = console()
    out.print(f"{profile.name}: {profile.title}" + (f"  ({note})" if note else ""))
    by_source: dict[str, list[tuple[str, str]]] = {}
    shown = profile.model_dump(mode="json", exclude={"sources", "name", "title", "numerics", "checked"})
    for key, value in _flat(shown):
        by_source.setdefault(profile.source_of(key), []).append((key, value))
    for source, rows in by_source.items():
        out.print()
        for key, value in rows:
            out.print(f"{key:<24}{value}", style="bold")
        out.print(Padding(source, (0, 0, 0, 4), expand=False))
    if profile.checked:
        out.print("\nPublished latencies, and how far off the estimate is")
        out.print(_checked(profile))
    out.print("\nWhat follows from these, and why")
    for one in profile.decisions():
        out.print()
        out.print(f"{one.what:<24}{one.value}", style="bold")
        out.print(Padding(one.reason, (0, 0, 0, 4), expand=False))


def _checked(profile: DeviceProfile) -> Table:
    rows = table("network", "precision", "threads", "published", "estimate", "source")
    for one in profile.checked:
        threads = str(one.threads or "not stated")
        rows.add_row(one.net, one.precision, threads, f"{one.published_ms:g} ms", f"{one.error:+.0%}", one.source)
    return rows


def _flat(values: dict[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and values; the figures of one rate are one row, without what is not said."""
    for key, value in values.items():
        if not isinstance(value, dict):
            yield f"{prefix}{key}", _plain(value)
        elif any(isinstance(inner, dict) for inner in value.values()):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield (
                f"{prefix}{key}",
                ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items() if inner is not None),
            )


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
