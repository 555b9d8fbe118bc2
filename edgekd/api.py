"""The public functions: one for each command, with the same keywords, returning the record that `--json` prints.

Whatever needs torch is imported inside the function, so that `pip install edgekd` alone can predict, bench, gate,
verify, report and inspect.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.budget import parse_budgets
from edgekd.device import DeviceProfile, list_profiles, resolve
from edgekd.doctor import Diagnosis, diagnose
from edgekd.errors import UsageError
from edgekd.gate import GateResult, read_report
from edgekd.gate import gate as gate_run
from edgekd.inspect_file import Inspection, inspect_file
from edgekd.latency import Predictions, predict_file
from edgekd.places.bench_file import BenchResult, bench_file
from edgekd.progress import Listener, silent
from edgekd.recipe import make_recipe
from edgekd.results import Report
from edgekd.stages.report import write_report
from edgekd.verify import Verification
from edgekd.verify import verify as verify_artifact

if TYPE_CHECKING:
    from edgekd.stages.distill import Distilled
    from edgekd.stages.export import Exports
    from edgekd.stages.quantize import Quantized


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
    require_torch()
    from edgekd import pipeline

    plan = make_recipe(recipe, model=str(model), **options)
    return pipeline.run_compress(plan, out=_path(out), fresh=fresh, listen=listen)[1]


def distill(
    model: str | Path, *, recipe: str | None = None, out: str | Path | None = None, **options: Any
) -> "Distilled":
    """Run as far as the trained student; as `compress` otherwise."""
    require_torch()
    from edgekd import pipeline

    plan = make_recipe(recipe, model=str(model), **options)
    return pipeline.run_distill(plan, out=_path(out))[1]


def export(model: str | Path, *, recipe: str | None = None, out: str | Path | None = None, **options: Any) -> "Exports":
    """Run as far as the ONNX files; as `compress` otherwise."""
    require_torch()
    from edgekd import pipeline

    plan = make_recipe(recipe, model=str(model), **options)
    return pipeline.run_export(plan, out=_path(out))[1]


def quantize(
    model: str | Path, *, recipe: str | None = None, out: str | Path | None = None, **options: Any
) -> "Quantized":
    """Run as far as the candidates; as `compress` otherwise."""
    require_torch()
    from edgekd import pipeline

    plan = make_recipe(recipe, model=str(model), **options)
    return pipeline.run_quantize(plan, out=_path(out))[1]


def bench(model: str | Path, *, on: str = "host", runtime: str = "onnxruntime", **options: Any) -> BenchResult:
    """Time and weigh an ONNX file, or the artifact of a run folder, on a place."""
    return bench_file(_onnx_of(Path(model)), place=on, runtime=runtime, **options)


def predict(model: str | Path, *, target: str = "all", threads: int | None = None) -> Predictions:
    """Estimate latency and memory of an ONNX file, or of a run's artifact, on one device or all."""
    return predict_file(_onnx_of(Path(model)), target=target, threads=threads)


def report(run: str | Path) -> Report:
    """Render the report of a run folder again, from its results.json."""
    found = read_report(Path(run))
    folder = Path(run) if Path(run).is_dir() else Path(run).parent.parent
    write_report(folder / "report", found)
    return found


def gate(
    run: str | Path,
    *,
    budget: Sequence[str] = (),
    allow_estimate: bool | None = None,
    junit: str | Path | None = None,
) -> GateResult:
    """Judge a run against budgets; those given replace the run's own of the same metric."""
    return gate_run(Path(run), budgets=parse_budgets(budget), allow_estimate=allow_estimate, junit=_path(junit))


def devices() -> list[DeviceProfile]:
    """Every device profile, this machine among them."""
    return [*list_profiles(), resolve("host").profile]


def inspect(file: str | Path) -> Inspection:
    """Say what a file is, whether it is safe to load, and for ONNX what it computes; nothing in it is executed."""
    return inspect_file(Path(file))


def verify(artifact: str | Path) -> Verification:
    """Check an artifact's hashes and parity vectors."""
    return verify_artifact(artifact)


def doctor(*, target: str | None = None) -> Diagnosis:
    """Say what this machine has and lacks."""
    return diagnose(target)


def require_torch() -> None:
    """Refuse to compress where the extra that it needs is not installed. Raises UsageError."""
    if importlib.util.find_spec("torch") is None:
        raise UsageError(
            "Compressing needs torch and friends, which are not installed; run: pip install 'edgekd[compress]'"
        )


def _onnx_of(path: Path) -> Path:
    shipped = path / "artifact" / "model.onnx"
    return shipped if shipped.is_file() else path / "model.onnx" if (path / "model.onnx").is_file() else path


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)
