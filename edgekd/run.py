"""One run: its stages with what each is called with, and what its result is made from."""

from dataclasses import dataclass
from pathlib import Path

from edgekd.artifact.licences import licences_of_run
from edgekd.artifact.parity.reference import pipeline_reference
from edgekd.assemble import manifest_of
from edgekd.budget import parse_budgets
from edgekd.device import DeviceProfile
from edgekd.emulated_figures import kernels_of
from edgekd.examine import write_one_input
from edgekd.figures import Number
from edgekd.following import Follower
from edgekd.identity import code_hashes, identity_of_inputs, identity_of_profile, identity_of_teachers, version_of
from edgekd.places.environment import environment
from edgekd.preflight import rung_names, runtime_names, scheme_names
from edgekd.progress import Listener, Tick
from edgekd.recipe import TRAINING_FIELDS, Recipe
from edgekd.results import Candidate
from edgekd.runtimes import RUNTIMES
from edgekd.stages.benchmark import Benchmarked, benchmark, contend, head_to_head
from edgekd.stages.choose import Choice, choose
from edgekd.stages.configure import Configured, configure
from edgekd.stages.distill import Distilled, distill, skip_distillation, trained_modules
from edgekd.stages.emulate import Emulated, emulate
from edgekd.stages.export import Exports, export
from edgekd.stages.load import Loaded, load, reopen_teacher
from edgekd.stages.package import Packaged, package
from edgekd.stages.quantize import Quantized, quantize
from edgekd.tasks.table import find_task
from edgekd.units import parse_seconds
from edgekd.workspace import Finished, Workspace, file_sha256

BENCH_SECONDS = 2.0
DUEL_SECONDS = 8.0
"""For two candidates that BENCH_SECONDS each did not tell apart."""
EMULATED_SECONDS = 60.0
"""For scoring one file on one split."""


@dataclass(frozen=True)
class Run:
    """One run. Every method does the stage of its name, or finds it done already from the same."""

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
        limits = [b.limit for b in parse_budgets(self.plan.budget) if b.metric in ("latency", "latency_p50")]
        return min(limits) if wanted and limits else None

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
        plan = self.plan
        schemes, rungs = scheme_names(plan.schemes, self.profile), rung_names(plan.rungs)
        drop = next((b.limit for b in parse_budgets(plan.budget) if b.metric == "drop"), None)
        made_from = [exports.digest, schemes, rungs, identity_of_profile(self.profile), plan.calibration_images]
        runtimes = runtime_names(plan.runtimes)
        made_from += [runtimes, [RUNTIMES[name].available() for name in runtimes], version_of("nncf")]
        made_from += [drop, plan.search_time, plan.seed, file_sha256(Path(plan.ranges)) if plan.ranges else None]

        def work(folder: Path) -> Quantized:
            models = {who: exports.folder / model.file for who, model in exports.record.models.items()}
            return quantize(
                folder,
                model=models[exports.record.shipped],
                teacher=models["teacher"],
                schemes=schemes,
                runtimes=runtimes,
                rungs=rungs,
                profile=self.profile,
                preprocessing=loaded.record.preprocessing,
                task=find_task(loaded.record.task),
                data=_data_of(loaded),
                loaded=loaded.folder,
                classes=loaded.record.outputs,
                calibration_images=plan.calibration_images,
                ranges=Path(plan.ranges) if plan.ranges else None,
                drop=drop,
                seconds=parse_seconds(plan.search_time),
                seed=plan.seed,
                listen=self.listen,
            )

        return self.workspace.stage("quantize", made_from, Quantized, work, keep_partial=True)

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

    def emulate(
        self,
        loaded: Finished[Loaded],
        exports: Finished[Exports],
        quantized: Finished[Quantized],
        benchmarked: Finished[Benchmarked],
    ) -> Finished[Benchmarked]:
        """The benchmark with what the target's emulated core says in place of estimates, where that is asked for."""
        if not self.plan.emulate:
            return benchmarked
        found = benchmarked.record

        def work(folder: Path) -> Emulated:
            return emulate(
                folder,
                models={who: exports.folder / model.file for who, model in exports.record.models.items()},
                figures=found.models,
                candidates=found.candidates,
                validation=found.validation,
                files=quantized.folder,
                profile=self.profile,
                preprocessing=loaded.record.preprocessing,
                task=find_task(loaded.record.task),
                data=_data_of(loaded),
                loaded=loaded.folder,
                seconds=EMULATED_SECONDS,
                seed=self.plan.seed,
                listen=self.listen,
            )

        emulated = self.workspace.stage("emulate", [benchmarked.digest, self.plan.seed], Emulated, work)
        by_operator = {**found.latency_by_operator, **emulated.record.latency_by_operator}
        notes = (*found.notes, *emulated.record.notes)
        record = found.model_copy(update={**dict(emulated.record), "latency_by_operator": by_operator, "notes": notes})
        return Finished(record, emulated.folder, emulated.digest, emulated.seconds)

    def choose(
        self, loaded: Finished[Loaded], quantized: Finished[Quantized], benchmarked: Finished[Benchmarked]
    ) -> Finished[Choice]:
        budgets = parse_budgets(self.plan.budget)
        found = benchmarked.record

        def work(folder: Path) -> Choice:
            inputs = write_one_input(folder / "input.npy", _data_of(loaded), loaded.record.preprocessing)

            def duel(one: Candidate, other: Candidate) -> Number:
                self.listen(Tick("duel", 0, 1, f"{one.id} against {other.id}"))
                return head_to_head(one, other, files=quantized.folder, inputs=inputs, seconds=DUEL_SECONDS)

            return choose(
                found.candidates,
                rejected=found.rejected,
                validation=found.validation,
                teacher=found.models["teacher"].score,
                target=self.profile.name,
                budgets=budgets,
                duel=duel,
            )

        made_from = [benchmarked.digest, [b.model_dump() for b in budgets]]
        return self.workspace.stage("choose", made_from, Choice, work)

    def configure(
        self, loaded: Finished[Loaded], quantized: Finished[Quantized], choice: Finished[Choice]
    ) -> Finished[Configured]:
        def work(folder: Path) -> Configured:
            return configure(
                chosen=choice.record.chosen,
                files=quantized.folder,
                profile=self.profile,
                inputs=write_one_input(folder / "input.npy", _data_of(loaded), loaded.record.preprocessing),
                seconds=BENCH_SECONDS,
                listen=self.listen,
            )

        return self.workspace.stage("configure", [choice.digest], Configured, work)

    def package(
        self,
        loaded: Finished[Loaded],
        distilled: Finished[Distilled],
        exports: Finished[Exports],
        quantized: Finished[Quantized],
        configured: Finished[Configured],
    ) -> Finished[Packaged]:
        chosen = configured.record.chosen
        licences = licences_of_run(self.plan, loaded.record.licence)
        made_from = [configured.digest, self.plan.model_dump(mode="json"), licences.digest]

        def work(folder: Path) -> Packaged:
            teacher = reopen_teacher(self.plan, loaded.record, loaded.folder)
            students = trained_modules(distilled.record, teacher, loaded.record.preprocessing)
            return package(
                folder,
                model=quantized.folder / chosen.file,
                chosen=chosen,
                preprocessing=loaded.record.preprocessing,
                task=loaded.record.task,
                classes=loaded.record.classes,
                data=_data_of(loaded),
                reference=pipeline_reference(teacher, students, distilled.folder, exports.record.shipped),
                trained=exports.record.shipped,
                tokenizer=_tokenizer_of(loaded),
                licences=licences,
                emulated=kernels_of(self.profile, chosen.runtime) if self.plan.emulate else None,
                max_opset=self.profile.runtimes["onnxruntime"].max_opset,
                manifest=manifest_of(self.plan, loaded.record, self.profile.name),
                profile=self.profile,
            )

        return self.workspace.stage("package", made_from, Packaged, work)


def _tokenizer_of(loaded: Finished[Loaded]) -> Path | None:
    tokens = loaded.record.preprocessing.tokens
    return loaded.folder / tokens.file if tokens else None


def _data_of(loaded: Finished[Loaded]) -> Path | None:
    return loaded.folder / "data" if loaded.record.manifest else None
