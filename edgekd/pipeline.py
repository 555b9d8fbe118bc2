"""The mission, read top to bottom: load, distill, export, quantize, benchmark, choose, configure, package, report.
With --emulate the benchmark is followed by what the target's core, emulated, says of the same files.

The only place that knows the order. Stages take what they need by name, return records, and never call one another
(`run.py` calls them); the run folder (`workspace.py`) keeps what is finished, so that the same call goes on where an
earlier one stopped.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from edgekd.assemble import RunFacts, assemble_report
from edgekd.device import resolve
from edgekd.errors import UsageError
from edgekd.following import Done, Follower
from edgekd.identity import default_folder, settle_student
from edgekd.latency import predict_file
from edgekd.places.environment import environment
from edgekd.preflight import check_plan
from edgekd.progress import Listener, StageNote, silent
from edgekd.recipe import Recipe
from edgekd.recipe_file import as_yaml
from edgekd.results import DeviceEstimate, Report
from edgekd.run import Run
from edgekd.stages.distill import Distilled
from edgekd.stages.export import Exports
from edgekd.stages.quantize import Quantized
from edgekd.stages.report import write_report, write_samples
from edgekd.training import processes
from edgekd.workspace import open_workspace, publish_folder, write_atomic


def run_compress(
    plan: Recipe, *, out: Path | None = None, fresh: bool = False, command: str = "", listen: Listener = silent
) -> tuple[Path, Report]:
    """Run every stage; return the run folder and its report."""
    with _open_run(plan, out, fresh, listen) as run:
        run.workspace.remove("report", "bench", "artifact")
        loaded = run.load()
        distilled = run.distill(loaded)
        exports = run.export(loaded, distilled)
        quantized = run.quantize(loaded, exports)
        benchmarked = run.benchmark(loaded, exports, quantized)
        known = run.emulate(loaded, exports, quantized, benchmarked)
        choice = run.choose(loaded, quantized, known)
        configured = run.configure(loaded, quantized, choice)
        packaged = run.package(loaded, distilled, exports, quantized, configured)
        facts = RunFacts(
            plan=run.plan,
            profile=run.profile,
            fallbacks=run.fallbacks,
            command=command,
            environment=environment(),
            loaded=loaded.record,
            distilled=distilled.record,
            exports=exports.record,
            quantized=quantized.record,
            benchmarked=known.record,
            choice=choice.record,
            configured=configured.record,
            packaged=packaged.record,
            seconds={
                stage.folder.name: stage.seconds
                for stage in (loaded, distilled, exports, quantized, benchmarked, known, choice, configured, packaged)
            },
            devices=_on_every_device(packaged.folder / "model.onnx"),
            finished=_finished(packaged.folder / "done.json"),
        )
        report = assemble_report(facts)
        listen(StageNote("report", str(run.root / "report"), "start"))
        write_report(run.root / "report", report)
        write_samples(run.root / "bench", report)
        publish_folder(packaged.folder, run.root / "artifact")
        return run.root, report


def run_distill(
    plan: Recipe, *, out: Path | None = None, fresh: bool = False, listen: Listener = silent
) -> tuple[Path, Distilled]:
    """Run as far as the trained student."""
    with _open_run(plan, out, fresh, listen) as run:
        return run.root, run.distill(run.load()).record


def run_export(
    plan: Recipe, *, out: Path | None = None, fresh: bool = False, listen: Listener = silent
) -> tuple[Path, Exports]:
    """Run as far as the ONNX files."""
    with _open_run(plan, out, fresh, listen) as run:
        loaded = run.load()
        return run.root, run.export(loaded, run.distill(loaded)).record


def run_quantize(
    plan: Recipe, *, out: Path | None = None, fresh: bool = False, listen: Listener = silent
) -> tuple[Path, Quantized]:
    """Run as far as the candidates."""
    with _open_run(plan, out, fresh, listen) as run:
        loaded = run.load()
        return run.root, run.quantize(loaded, run.export(loaded, run.distill(loaded))).record


def _on_every_device(model: Path) -> tuple[DeviceEstimate, ...]:
    """What ships, estimated for every device that a profile ships for."""
    predictions = (one.model_dump(include=set(DeviceEstimate.model_fields)) for one in predict_file(model).predictions)
    return tuple(DeviceEstimate.model_validate(one) for one in predictions)


def _finished(done: Path) -> str:
    """When a stage ended, which a resumed run leaves as it is."""
    return datetime.fromtimestamp(done.stat().st_mtime, UTC).isoformat(timespec="seconds")


@contextmanager
def _open_run(plan: Recipe, out: Path | None, fresh: bool, listen: Listener) -> Iterator[Run]:
    check_plan(plan, out=out)
    resolved = resolve(plan.target)
    if resolved.note:
        listen(StageNote("plan", resolved.note))
    plan, fallbacks = settle_student(plan)
    for line in fallbacks:
        listen(StageNote("plan", line))
    root = out or default_folder(plan, resolved.profile)
    if not processes.leads():
        logging.disable(logging.CRITICAL)  # what happens is told once
        with suppress(Done):
            yield Run(plan, resolved.profile, Follower(root), fallbacks, silent)
        raise SystemExit(0)
    if processes.count() > 1 and fresh:
        raise UsageError("--fresh cannot be said to several processes at once; delete the run folder first")
    with open_workspace(root, fresh=fresh, listen=listen) as workspace:
        if out is None:  # the command line has named it before
            listen(StageNote("plan", f"run folder {root}"))
        write_atomic(root / "recipe.yaml", as_yaml(plan).encode("utf-8"))
        yield Run(plan, resolved.profile, workspace, fallbacks, listen)
