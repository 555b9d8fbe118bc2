"""The public functions: one for each command, with the same keywords, returning the record that `--json` prints.

Whatever needs torch is imported inside the function, so that `pip install edgekd` alone can predict, bench, gate,
verify, report and inspect.
"""

import contextlib
import importlib.util
import logging
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.browser.trial import try_artifact
from edgekd.command_line import option_words
from edgekd.device import HOST, DeviceProfile, list_own_profiles, list_profiles, resolve
from edgekd.doctor import Diagnosis, diagnose
from edgekd.errors import BadInput, UsageError
from edgekd.formats.identify import KIND_NAMES, identify
from edgekd.formats.onnx_file import read_onnx
from edgekd.gate import RESULTS, read_report
from edgekd.gate import gate as gate_run
from edgekd.gate_result import GateResult
from edgekd.inspect_file import Inspection, TorchFacts, inspect_file
from edgekd.latency import Predictions, predict_file
from edgekd.past_runs import report_between as report_between
from edgekd.past_runs import report_history as report_history
from edgekd.places.bench_file import BenchResult, BenchTable, bench_file, table_of
from edgekd.places.emulated_work import counting
from edgekd.progress import Listener, silent
from edgekd.recipe import Recipe
from edgekd.recipe_file import make_recipe
from edgekd.results import Report
from edgekd.stages.report import write_report
from edgekd.verify import Verification
from edgekd.verify import verify as verify_artifact

if TYPE_CHECKING:
    from edgekd.calibration.board import Calibrated
    from edgekd.latency.operator_costs import OperatorCosts
    from edgekd.stages.distill import Distilled
    from edgekd.stages.export import Exports
    from edgekd.stages.quantize import Quantized

# A library is silent unless its user asks for its log.
logging.getLogger("edgekd").addHandler(logging.NullHandler())


def compress(
    model: str | Path,
    *,
    recipe: str | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    listen: Listener = silent,
    **options: Any,
) -> Report:
    """Run the whole job; `options` are the fields of `edgekd.recipe.Recipe`.

    A missed budget is a verdict in the report, not an exception.

    Raises:
        UsageError: options that do not exist or do not combine.
        BadInput: a model or data that cannot be used.
    """
    report: Report = _run("compress", model, recipe, out, fresh, listen, options)
    return report


def distill(
    model: str | Path,
    *,
    recipe: str | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    listen: Listener = silent,
    **options: Any,
) -> "Distilled":
    """Run as far as the trained student; as `compress` otherwise."""
    distilled: Distilled = _run("distill", model, recipe, out, fresh, listen, options)
    return distilled


def export(
    model: str | Path,
    *,
    recipe: str | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    listen: Listener = silent,
    **options: Any,
) -> "Exports":
    """Run as far as the ONNX files; as `compress` otherwise."""
    exports: Exports = _run("export", model, recipe, out, fresh, listen, options)
    return exports


def quantize(
    model: str | Path,
    *,
    recipe: str | None = None,
    out: str | Path | None = None,
    fresh: bool = False,
    listen: Listener = silent,
    **options: Any,
) -> "Quantized":
    """Run as far as the candidates; as `compress` otherwise."""
    quantized: Quantized = _run("quantize", model, recipe, out, fresh, listen, options)
    return quantized


def run_until(
    stage: str, plan: Recipe, *, out: Path | None, fresh: bool, listen: Listener, command: str
) -> tuple[Path, Any]:
    """Run the plan as far as `stage`, or wholly for "compress"; return the run folder and what that found.

    `command` is the command line that does the same; the report of a whole run shows it.
    """
    require_torch()
    from edgekd import pipeline

    if stage == "compress":
        return pipeline.run_compress(plan, out=out, fresh=fresh, command=command, listen=listen)
    found: tuple[Path, Any] = getattr(pipeline, f"run_{stage}")(plan, out=out, fresh=fresh, listen=listen)
    return found


def command_line(
    stage: str, model: str | Path, *, recipe: str | None, out: str | Path | None, fresh: bool, options: dict[str, Any]
) -> str:
    """Return the command that does the same as a call with these keywords."""
    plan = make_recipe(recipe, model=str(model), **options)
    words = ["edgekd", stage, str(model)]
    words += ["--recipe", recipe] if recipe else []
    words += ["--out", str(out)] if out else []
    words += ["--fresh"] if fresh else []
    words += option_words({name: getattr(plan, name) for name, given in options.items() if given not in (None, ())})
    return shlex.join(words)


def _run(
    stage: str,
    model: str | Path,
    recipe: str | None,
    out: str | Path | None,
    fresh: bool,
    listen: Listener,
    options: dict[str, Any],
) -> Any:
    plan = make_recipe(recipe, model=str(model), **options)
    command = command_line(stage, model, recipe=recipe, out=out, fresh=fresh, options=options)
    return run_until(stage, plan, out=_path(out), fresh=fresh, listen=listen, command=command)[1]


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
) -> BenchResult:
    """Time and weigh an ONNX file, or the artifact of a run folder, on a place, or count it on an emulated core.

    At least `min_runs` runs and `seconds`, but where the runs take long, no more than 30 s or `seconds`.
    """
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


def bench_table(model: str | Path, *, on: Sequence[str], **options: Any) -> BenchTable:
    """Do what `bench` does, whose keywords these are, on several places; a place that fails is a row that says why.

    Raises:
        BadInput: the file is no sound ONNX model.
    """
    read_onnx(_onnx_of(Path(model)))
    return table_of(on, lambda place: bench(model, on=place, **options))


def predict(
    model: str | Path, *, target: str = "all", threads: int | None = None, emulate: bool = False
) -> Predictions:
    """Estimate latency and memory of an ONNX file, or of a run's artifact, on one device or all.

    With `emulate`, latency comes from the instructions that the device's own runtime executes under emulation.
    """
    path = _onnx_of(Path(model))
    return predict_file(path, target=target, threads=threads, count=counting(path) if emulate else None)


def report(run: str | Path) -> Report:
    """Render the report of a run folder again, from its results.json.

    Raises:
        UsageError: a file that is not a run's report/results.json.
        BadInput: there are no results, or they do not hold what results.json must.
    """
    folder = run_folder(run)
    found = read_report(folder)
    write_report(folder / "report", found)
    return found


def run_folder(run: str | Path) -> Path:
    """Return the folder of a run named by itself or by its report/results.json. Raises UsageError for other files."""
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
) -> GateResult:
    """Judge a run, artifact or ONNX file by budgets and against a baseline; limits given replace the run's own of the
    same metric. The keywords are those of `edgekd.gate.gate`, which says what each does and raises."""
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


def devices() -> list[DeviceProfile]:
    """Every device profile, the user's own and this machine among them."""
    return [*list_profiles(), *list_own_profiles(), resolve("host").profile]


def calibrate(
    name: str = "host", *, on: str | None = None, out: str | Path | None = None, listen: Listener = silent
) -> "OperatorCosts | Calibrated":
    """Time this machine's operators one by one ("host"), or run reference graphs on the place `on` and fit the rates of
    a device's profile to them; write the result among the user's own profiles, or to `out`.

    Raises:
        UsageError: an unknown device or place, or a device without a place.
        PlaceLost: the place went away.
    """
    if name == HOST and on in (None, "host"):
        from edgekd.calibration.host import calibrate_host

        return calibrate_host(out=_path(out), listen=listen)
    if on is None:
        raise UsageError(f"Say where {name[:60]} is: edgekd devices calibrate {name[:60]} --on ssh://USER@HOST")
    from edgekd.calibration.board import calibrate_board

    return calibrate_board(name, on=on, out=_path(out), listen=listen)


def inspect(file: str | Path) -> Inspection:
    """Say what a file is, whether it is safe to load, and what it computes or holds; nothing in it is executed."""
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


def verify(artifact: str | Path) -> Verification:
    """Check the hashes and parity vectors of an artifact, or of a run's artifact."""
    return verify_artifact(_artifact_of(artifact))


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
    return try_artifact(_artifact_of(artifact), port=port, install=install)


def doctor(*, target: str | None = None, on: str = "host", install: bool = False) -> Diagnosis:
    """Say what a place has and lacks, this machine by default; with `install`, fetch what an emulated core needs, or a
    board without Python."""
    return diagnose(target, on=on, install=install)


def require_torch() -> None:
    """Refuse to compress where the extra that it needs is not installed. Raises UsageError."""
    if importlib.util.find_spec("torch") is None:
        raise UsageError(
            "Compressing needs torch and friends, which are not installed; run: pip install 'edgekd[compress]'"
        )


def _artifact_of(path: str | Path) -> Path:
    """The artifact that is meant by itself or by its run folder."""
    inside = Path(path) / "artifact"
    return inside if inside.is_dir() else Path(path)


def _onnx_of(path: Path) -> Path:
    """The ONNX file that is meant by a file, an artifact or a run folder. Raises BadInput for models of other kinds."""
    found = next((file for file in (path / "artifact" / "model.onnx", path / "model.onnx") if file.is_file()), path)
    kind = identify(found)
    if kind.kind != "onnx":
        needs = {"state dict": " --arch ARCHITECTURE", "pickled module": " --trust", "torchscript": " --trust"}
        command = f"edgekd export {shlex.quote(str(found))} --student none{needs.get(kind.kind, '')}"
        raise BadInput(f"{found} is {KIND_NAMES[kind.kind]}, not ONNX; export it first: {command}")
    return found


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)
