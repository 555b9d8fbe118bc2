"""The public functions besides those that compress: one for each command, with the same keywords, returning the record
that `--json` prints.

What a function needs is imported inside it, so that each command starts as fast as it can, and `pip install edgekd`
alone can predict, bench, gate, verify, report and inspect.
"""

import contextlib
import importlib.util
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.errors import BadInput, UsageError
from edgekd.progress import Listener, silent

if TYPE_CHECKING:
    from edgekd.artifact.pack import Packed
    from edgekd.calibration.board import Calibrated
    from edgekd.device import DeviceProfile
    from edgekd.diagnosis import Diagnosis
    from edgekd.gate_result import GateResult
    from edgekd.inspect_file import Inspection
    from edgekd.latency import Predictions
    from edgekd.latency.operator_costs import OperatorCosts
    from edgekd.places.bench_file import BenchResult, BenchTable
    from edgekd.results import Report
    from edgekd.verification import Verification


def bench(
    model: str | Path,
    *,
    on: str = "host",
    runtime: str = "onnxruntime",
    threads: int = 1,
    session: Mapping[str, Any] | None = None,
    min_runs: int = 50,
    seconds: float = 2.0,
    seed: int = 0,
) -> "BenchResult":
    """Time and weigh an ONNX file, or the artifact of a run folder, on a place, or count it on an emulated core.

    At least `min_runs` runs and `seconds`, but where the runs take long, no more than 30 s or `seconds`.
    """
    from edgekd.places.bench_file import bench_file

    return bench_file(
        _onnx_of(Path(model)),
        place=on,
        runtime=runtime,
        threads=threads,
        session=session,
        min_runs=min_runs,
        min_seconds=seconds,
        max_seconds=max(seconds, 30.0),
        seed=seed,
    )


def bench_table(model: str | Path, *, on: Sequence[str], **options: Any) -> "BenchTable":
    """Do what `bench` does, whose keywords these are, on several places; a place that fails is a row that says why.

    Raises:
        BadInput: the file is no sound ONNX model.
    """
    from edgekd.formats.onnx_file import read_onnx
    from edgekd.places.bench_file import table_of

    read_onnx(_onnx_of(Path(model)))
    return table_of(on, lambda place: bench(model, on=place, **options))


def predict(
    model: str | Path, *, target: str = "all", threads: int | None = None, emulate: bool = False
) -> "Predictions":
    """Estimate latency and memory of an ONNX file, or of a run's artifact, on one device or all.

    With `emulate`, latency comes from the instructions that the device's own runtime executes under emulation.
    """
    from edgekd.latency import predict_file

    path = _onnx_of(Path(model))
    if not emulate:
        return predict_file(path, target=target, threads=threads)
    from edgekd.places.emulated_work import counting

    return predict_file(path, target=target, threads=threads, count=counting(path))


def report(run: str | Path) -> "Report":
    """Render the report of a run folder again, from its results.json.

    Raises:
        UsageError: a file that is not a run's report/results.json.
        BadInput: there are no results, or they do not hold what results.json must.
    """
    from edgekd.results_file import read_report
    from edgekd.stages.report import write_report

    folder = run_folder(run)
    found = read_report(folder)
    write_report(folder / "report", found)
    return found


def run_folder(run: str | Path) -> Path:
    """Return the folder of a run named by itself or by its report/results.json. Raises UsageError for other files."""
    from edgekd.results_file import RESULTS

    path = Path(run)
    if not path.is_file():
        return path
    if path.absolute().parts[-2:] != RESULTS.parts:
        raise UsageError(f"{run} is not the {RESULTS.as_posix()} of a run; name the run folder.")
    return path.parent.parent if len(path.parts) > 2 else path.absolute().parent.parent


def gate(
    run: str | Path,
    *,
    budget: Sequence[str] = (),
    warn: Sequence[str] = (),
    baseline: str | Path | None = None,
    target: str | None = None,
    on: str = "host",
    timing: bool = True,
    emulate: bool = False,
    retrained: bool = False,
    allow_estimate: bool | None = None,
    junit: str | Path | None = None,
) -> "GateResult":
    """Judge a run, artifact or ONNX file by budgets and against a baseline; limits given replace the run's own of the
    same metric. The keywords are those of `edgekd.gatekeeper.gate`, which says what each does and raises."""
    from edgekd.gatekeeper import gate as gate_run

    return gate_run(
        Path(run),
        budget=budget,
        warn=warn,
        baseline=_path(baseline),
        target=target,
        on=on,
        timing=timing,
        emulate=emulate,
        retrained=retrained,
        allow_estimate=allow_estimate,
        junit=_path(junit),
    )


def devices() -> "list[DeviceProfile]":
    """Every device profile, the user's own and this machine among them."""
    from edgekd.device import HOST, list_own_profiles, list_profiles, resolve

    return [*list_profiles(), *list_own_profiles(), resolve(HOST).profile]


def calibrate(
    name: str = "host", *, on: str | None = None, out: str | Path | None = None, listen: Listener = silent
) -> "OperatorCosts | Calibrated":
    """Time this machine's operators one by one ("host"), or run reference graphs on the place `on` and fit the rates of
    a device's profile to them; write the result among the user's own profiles, or to `out`.

    Raises:
        UsageError: an unknown device or place, or a device without a place.
        PlaceLost: the place went away.
    """
    from edgekd.device import HOST

    if name == HOST and on in (None, HOST):
        from edgekd.calibration.host import calibrate_host

        return calibrate_host(out=_path(out), listen=listen)
    if on is None:
        raise UsageError(f"Say where {name[:60]} is: edgekd devices calibrate {name[:60]} --on ssh://USER@HOST")
    from edgekd.calibration.board import calibrate_board

    return calibrate_board(name, on=on, out=_path(out), listen=listen)


def inspect(file: str | Path) -> "Inspection":
    """Say what a file is, whether it is safe to load, and what it computes or holds; nothing in it is executed."""
    from edgekd.inspect_file import TorchFacts, inspect_file

    found = inspect_file(Path(file))
    if (
        found.file.kind not in ("exported program", "state dict", "encoder directory")
        or importlib.util.find_spec("torch") is None
    ):
        return found
    from edgekd.formats.describe import describe

    try:
        facts = TorchFacts.model_validate(describe(found.file))
    except BadInput as error:
        facts = TorchFacts(fault=str(error))
    return found.model_copy(update={"torch": facts})


def verify(artifact: str | Path) -> "Verification":
    """Check the hashes and parity vectors of an artifact, or of a run's artifact."""
    from edgekd.verification import verify as verify_artifact

    return verify_artifact(_artifact_of(artifact))


def pack(artifact: str | Path, *, out: str | Path | None = None) -> "Packed":
    """Verify an artifact, or a run's, and write it as one zip file: the same bytes for the same artifact.

    Args:
        out: the file; by default beside the artifact's folder, under its name.

    Raises:
        UsageError: `out` lies inside the artifact, is a folder, or its folder is not there.
        BadInput: the artifact does not verify.
    """
    from edgekd.artifact.pack import write_zip
    from edgekd.verification import verify as verify_artifact

    folder = _artifact_of(artifact)
    verify_artifact(folder)
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return write_zip(folder, _path(out) or named.with_name(f"{named.name}.zip"))


def try_in_browser(
    artifact: str | Path, *, port: int = 0, install: bool = False
) -> contextlib.AbstractContextManager[str]:
    """Verify an artifact, or a run's, and return a server, on this computer alone, of a page that runs it.

        with edgekd.try_in_browser("runs/demo") as address: ...

    Args:
        port: on 127.0.0.1; 0 for a free one.
        install: fetch ONNX Runtime for browsers by npm, where it is not there.

    Raises:
        UsageError: the artifact is too large for a browser.
        PlaceLost: the runtime for browsers is not there, or cannot be fetched.
    """
    from edgekd.browser.trial import try_artifact

    return try_artifact(_artifact_of(artifact), port=port, install=install)


def doctor(*, target: str | None = None, on: str = "host", install: bool = False) -> "Diagnosis":
    """Say what a place has and lacks, this machine by default; with `install`, fetch what an emulated core needs, or a
    board without Python."""
    from edgekd.diagnosis import diagnose

    return diagnose(target, on=on, install=install)


def _artifact_of(path: str | Path) -> Path:
    """The artifact that is meant by itself or by its run folder."""
    inside = Path(path) / "artifact"
    return inside if inside.is_dir() else Path(path)


def _onnx_of(path: Path) -> Path:
    """The ONNX file that is meant by a file, an artifact or a run folder. Raises BadInput for models of other kinds."""
    from edgekd.formats.identify import KIND_NAMES, identify

    found = next((file for file in (path / "artifact" / "model.onnx", path / "model.onnx") if file.is_file()), path)
    kind = identify(found)
    if kind.kind != "onnx":
        needs = {"state dict": " --arch ARCHITECTURE", "pickled module": " --trust", "torchscript": " --trust"}
        command = f"edgekd export {shlex.quote(str(found))} --student none{needs.get(kind.kind, '')}"
        raise BadInput(f"{found} is {KIND_NAMES[kind.kind]}, not ONNX; export it first: {command}")
    return found


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)
