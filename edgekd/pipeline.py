"""The mission, read top to bottom: load, distill, export, quantize, benchmark, choose, package, report.

The only place that knows the order. Stages take what they need by name, return records, and never call one another;
the run folder (`workspace.py`) keeps what is finished, so that the same call goes on where an earlier one stopped.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edgekd.assemble import RunFacts, assemble_report
from edgekd.budget import parse_budgets
from edgekd.device import DeviceProfile, resolve
from edgekd.errors import UsageError
from edgekd.following import Done, Follower
from edgekd.identity import (
    code_hashes,
    default_folder,
    identity_of_inputs,
    identity_of_profile,
    identity_of_teachers,
    settle_student,
)
from edgekd.places.environment import environment
from edgekd.preflight import check_plan, runtime_names, scheme_names
from edgekd.progress import Listener, StageNote, silent
from edgekd.recipe import TRAINING_FIELDS, Recipe
from edgekd.recipe_file import as_yaml
from edgekd.results import Report
from edgekd.stages.benchmark import Benchmarked, benchmark, contend
from edgekd.stages.choose import Choice, choose
from edgekd.stages.distill import Distilled, distill, skip_distillation, trained_modules
from edgekd.stages.export import Exports, export
from edgekd.stages.load import Loaded, load, reopen_teacher
from edgekd.stages.package import Packaged, package
from edgekd.stages.quantize import Quantized, quantize
from edgekd.stages.report import write_report, write_samples
from edgekd.tasks.table import find_task
from edgekd.training import processes
from edgekd.workspace import Finished, Workspace, open_workspace, publish_folder, write_atomic

BENCH_SECONDS = 2.0


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
        choice = run.choose(benchmarked)
        packaged = run.package(loaded, exports, quantized, choice)
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
            benchmarked=benchmarked.record,
            choice=choice.record,
            packaged=packaged.record,
            seconds={
                stage.folder.name: stage.seconds
                for stage in (loaded, distilled, exports, quantized, benchmarked, choice, packaged)
            },
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


@dataclass(frozen=True)
class _Run:
    """The stages of one run with what each of their results is made from."""

    plan: Recipe
    profile: DeviceProfile
    workspace: Workspace | Follower
    fallbacks: tuple[str, ...]
    listen: Listener

    @property
    def root(self) -> Path:
        return self.workspace.root

    def load(self) -> Finished[Loaded]:
        return self.workspace.stage(
            "load",
            identity_of_inputs(self.plan),
            Loaded,
            lambda folder: load(folder, plan=self.plan, listen=self.listen),
            keep_partial=True,
        )

    def distill(self, loaded: Finished[Loaded]) -> Finished[Distilled]:
        plan = self.plan
        goal = self._latency_goal()
        made_from: list[object] = [loaded.digest, plan.model_dump(include=TRAINING_FIELDS), code_hashes(plan)]
        made_from += identity_of_teachers(plan)
        if goal is not None:
            made_from += [goal, identity_of_profile(self.profile)]

        def work(folder: Path) -> Distilled:
            if plan.student == "none":
                return skip_distillation()
            return distill(
                folder,
                plan=plan,
                teacher=reopen_teacher(plan, loaded.record, loaded.folder),
                preprocessing=loaded.record.preprocessing,
                outputs=loaded.record.outputs,
                task=find_task(loaded.record.task),
                classes=loaded.record.classes or (),
                loaded=loaded.folder,
                latency_goal=None if goal is None else (self.profile, goal),
                listen=self.listen,
            )

        return self.workspace.stage("distill", made_from, Distilled, work, keep_partial=True)

    def _latency_goal(self) -> float | None:
        """Milliseconds that the student is pruned to: a latency budget where no share of MACs was asked for."""
        wanted = self.plan.student == "auto" and self.plan.keep_macs is None
        limits = [b.limit for b in parse_budgets(self.plan.budget) if b.metric == "latency"]
        return limits[0] if wanted and limits else None

    def export(self, loaded: Finished[Loaded], distilled: Finished[Distilled]) -> Finished[Exports]:
        runtime = self.profile.runtimes["onnxruntime"]

        def work(folder: Path) -> Exports:
            teacher = reopen_teacher(self.plan, loaded.record, loaded.folder)
            return export(
                folder,
                teacher=teacher,
                students=trained_modules(distilled.record, teacher, loaded.record.preprocessing),
                weights=distilled.folder,
                shipped=distilled.record.shipped,
                preprocessing=loaded.record.preprocessing,
                task=find_task(loaded.record.task),
                data=_data_of(loaded),
                runtime=runtime,
            )

        made_from = [distilled.digest, runtime.max_opset, runtime.max_ir]
        return self.workspace.stage("export", made_from, Exports, work)

    def quantize(self, loaded: Finished[Loaded], exports: Finished[Exports]) -> Finished[Quantized]:
        schemes = scheme_names(self.plan.schemes)
        made_from = [exports.digest, schemes, self.profile.numerics.model_dump(), self.plan.calibration_images]

        def work(folder: Path) -> Quantized:
            return quantize(
                folder,
                model=exports.folder / exports.record.models[exports.record.shipped].file,
                schemes=schemes,
                profile=self.profile,
                preprocessing=loaded.record.preprocessing,
                data=_data_of(loaded),
                classes=loaded.record.outputs,
                calibration_images=self.plan.calibration_images,
                seed=self.plan.seed,
                listen=self.listen,
            )

        return self.workspace.stage("quantize", made_from, Quantized, work)

    def benchmark(
        self, loaded: Finished[Loaded], exports: Finished[Exports], quantized: Finished[Quantized]
    ) -> Finished[Benchmarked]:
        contenders, notes = contend(quantized.record.files, self.profile, runtime_names(self.plan.runtimes))
        here = environment()
        made_from = [
            quantized.digest,
            identity_of_profile(self.profile),
            [c.model_dump() for c in contenders],
            here["cpu"],
            here["versions"],
        ]

        def work(_folder: Path) -> Benchmarked:
            return benchmark(
                models={who: exports.folder / model.file for who, model in exports.record.models.items()},
                contenders=contenders,
                notes=notes,
                files=quantized.folder,
                profile=self.profile,
                preprocessing=loaded.record.preprocessing,
                task=find_task(loaded.record.task),
                data=_data_of(loaded),
                loaded=loaded.folder,
                seconds=BENCH_SECONDS,
                listen=self.listen,
            )

        return self.workspace.stage("benchmark", made_from, Benchmarked, work)

    def choose(self, benchmarked: Finished[Benchmarked]) -> Finished[Choice]:
        budgets = parse_budgets(self.plan.budget)
        found = benchmarked.record

        def work(_folder: Path) -> Choice:
            return choose(
                found.candidates,
                rejected=found.rejected,
                validation=found.validation,
                teacher=found.models["teacher"].score,
                target=self.profile.name,
                budgets=budgets,
            )

        made_from = [benchmarked.digest, [b.model_dump() for b in budgets]]
        return self.workspace.stage("choose", made_from, Choice, work)

    def package(
        self,
        loaded: Finished[Loaded],
        exports: Finished[Exports],
        quantized: Finished[Quantized],
        choice: Finished[Choice],
    ) -> Finished[Packaged]:
        chosen = choice.record.chosen
        made_from = [choice.digest, self.plan.model_dump(mode="json")]

        def work(folder: Path) -> Packaged:
            return package(
                folder,
                model=quantized.folder / chosen.file,
                chosen=chosen,
                preprocessing=loaded.record.preprocessing,
                classes=loaded.record.classes,
                data=_data_of(loaded),
                trained=exports.record.shipped,
                tokenizer=_tokenizer_of(loaded),
                manifest={
                    "model": {"path": str(self.plan.model), "sha256": loaded.record.sha256},
                    "data": loaded.record.manifest.model_dump(mode="json") if loaded.record.manifest else None,
                    "target": self.profile.name,
                    "recipe": self.plan.model_dump(mode="json", exclude_defaults=True),
                    "versions": environment()["versions"],
                },
            )

        return self.workspace.stage("package", made_from, Packaged, work)


@contextmanager
def _open_run(plan: Recipe, out: Path | None, fresh: bool, listen: Listener) -> Iterator[_Run]:
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
            yield _Run(plan, resolved.profile, Follower(root), fallbacks, silent)
        raise SystemExit(0)
    if processes.count() > 1 and fresh:
        raise UsageError("--fresh cannot be said to several processes at once; delete the run folder first")
    with open_workspace(root, fresh=fresh, listen=listen) as workspace:
        if out is None:  # the command line has named it before
            listen(StageNote("plan", f"run folder {root}"))
        write_atomic(root / "recipe.yaml", as_yaml(plan).encode("utf-8"))
        yield _Run(plan, resolved.profile, workspace, fallbacks, listen)


def _tokenizer_of(loaded: Finished[Loaded]) -> Path | None:
    tokens = loaded.record.preprocessing.tokens
    return loaded.folder / tokens.file if tokens else None


def _data_of(loaded: Finished[Loaded]) -> Path | None:
    return loaded.folder / "data" if loaded.record.manifest else None
