"""Stage 1: read the model and the data, settle how data become inputs, and score the teacher before anything else."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgekd.data.classes import agreed_order, check_classes
from edgekd.data.materialise import DataManifest, materialise
from edgekd.data.peek import DataFacts
from edgekd.data.reading import Reading
from edgekd.data.source import SplitName
from edgekd.data.split import Split, open_split
from edgekd.distillation.adaption import adapt_teacher, classes_to_learn, with_adapted_weights
from edgekd.distillation.synthesis import settle_source
from edgekd.errors import BadInput, UsageError
from edgekd.figures import Figures
from edgekd.formats.outputs import FAILURES, outputs_of
from edgekd.formats.read import LoadedModel, read_model
from edgekd.model_inputs import settle_inputs
from edgekd.preprocessing import Preprocessing
from edgekd.progress import Listener
from edgekd.recipe import Recipe
from edgekd.record import Record
from edgekd.students.macs import count_macs
from edgekd.tasks.classification import CLASSIFICATION
from edgekd.tasks.intervals import score_number
from edgekd.tasks.table import settle_task
from edgekd.tasks.task import Task, score_of
from edgekd.teachers.front import put_front, with_front
from edgekd.training.data import TrainingData
from edgekd.training.evaluate import joined, predict_outputs

log = logging.getLogger(__name__)

_SCORED: tuple[SplitName, ...] = ("val", "test")
SEEN_BEFORE = 0.03
"""A teacher this much more accurate on validation than on test was most likely trained on the validation samples."""


class Loaded(Record):
    """What came in: the teacher's figures, the data's splits, and the preprocessing that joins them."""

    kind: str
    sha256: str
    trainable: bool
    preprocessing: Preprocessing
    task: str
    """A name in `edgekd.tasks.table.TASKS`."""
    outputs: int
    """Classes that the teacher tells apart; where there are none, numbers that its first output gives for a sample."""
    classes: tuple[str, ...] | None
    manifest: DataManifest | None
    score_name: str | None
    synthesised: bool
    teacher: Figures
    notes: tuple[str, ...]
    licence: str | None = None
    """What the model file says of itself."""

    @property
    def labelled(self) -> bool:
        """Whether there are labels to score and to learn from."""
        return self.manifest is not None and self.manifest.labelled


def open_teacher(plan: Recipe) -> LoadedModel:
    """Read the model file that the plan names, as it is; `reopen_teacher` is for after the load stage."""
    if plan.model is None:
        raise BadInput("No model was given; name a .pt2, .pt, .safetensors or .onnx file.")
    return read_model(Path(plan.model), arch=plan.arch, trust=plan.trust)


def reopen_teacher(plan: Recipe, loaded: Loaded, folder: Path) -> LoadedModel:
    """Read the teacher again, as the load stage left it in `folder`; cheap enough for every stage that needs it."""
    teacher = with_front(plan, open_teacher(plan), loaded.preprocessing)
    if not plan.adapt_teacher:
        return teacher
    return with_adapted_weights(teacher, folder, loaded.preprocessing, classes=loaded.outputs)


def load(folder: Path, *, plan: Recipe, listen: Listener) -> Loaded:
    """Read the teacher, write the splits to `folder/data`, and score the teacher on validation and test.

    What it says of them is kept as `teacher_val_outputs.npy` and `teacher_test_outputs.npy`, float32 (n, ...).

    Raises:
        UsageError: an option, the task among them, does not exist or contradicts the model or the data.
        BadInput: the model or data cannot be used, they disagree, or the teacher scores no better than chance.
    """
    teacher = open_teacher(plan)
    inputs = settle_inputs(folder, plan, teacher)
    facts = inputs.facts
    teacher, preprocessing = put_front(plan, teacher, inputs.preprocessing)
    for setting, origin in preprocessing.origin.items():
        log.info("%s %s (%s)", setting, getattr(preprocessing, setting, ""), origin)
    if plan.adapt_teacher:
        shapes: tuple[tuple[int, ...], ...] = ((classes_to_learn(plan, teacher, facts),),)
    else:
        shapes = _output_shapes(teacher, preprocessing, plan)
    task = settle_task(plan.task, labels=facts.labels if facts else None, output_shapes=shapes)
    _check_task(task, shapes, facts)
    log.info("task %s", task.name)
    if task.mirrored is not None and preprocessing.crop is not None:
        raise UsageError("--crop would cut off objects whose boxes stay; leave it out for detection")
    outputs = shapes[0][-1] if task.per_class else int(np.prod(shapes[0]))
    order, notes = _settle_order(plan, teacher, facts, task, outputs)
    source, made = settle_source(folder, plan, teacher, preprocessing, task, outputs, listen)
    notes = (*made, *notes)
    manifest = None
    if source:
        manifest = _write_splits(
            folder / "data", source, plan, inputs.reading, preprocessing, task, order, shapes[0], listen
        )
    if plan.adapt_teacher:
        train, val = open_split(folder / "data", "train"), open_split(folder / "data", "val")
        data = TrainingData(train, val, preprocessing, task)
        teacher = adapt_teacher(folder, teacher, data, plan, classes=outputs, listen=listen)
    classes = _settle_classes(manifest, teacher, outputs) if task.per_class else None
    figures = Figures(
        macs=None if teacher.onnx_path else count_macs(teacher.module, _example(preprocessing)) or None,
        params=sum(p.numel() for p in teacher.module.parameters()) or None,
    )
    if manifest:
        score, said = _score_teacher(folder, teacher, preprocessing, task, outputs)
        figures, notes = figures.model_copy(update=score), (*notes, *said)
    return Loaded(
        kind=teacher.kind,
        sha256=teacher.sha256,
        trainable=teacher.trainable,
        preprocessing=preprocessing,
        task=task.name,
        outputs=outputs,
        classes=classes,
        manifest=manifest,
        score_name=(task.score_name if manifest.labelled else task.fidelity_name) if manifest else None,
        synthesised=bool(source) and not plan.data,
        teacher=figures,
        notes=(*teacher.notes, *(manifest.notes if manifest else ()), *_unscored(task, shapes), *notes),
        licence=teacher.metadata.get("licence"),
    )


def _example(preprocessing: Preprocessing, count: int = 1) -> torch.Tensor:
    return torch.from_numpy(preprocessing.zeros(count))


def _output_shapes(teacher: LoadedModel, preprocessing: Preprocessing, plan: Recipe) -> tuple[tuple[int, ...], ...]:
    """Shape of each output for one sample; also the first proof that the model runs on inputs of this shape."""
    try:
        with torch.inference_mode():
            returned = teacher.module(_example(preprocessing, 2))
    except FAILURES as error:
        shape = "x".join(map(str, preprocessing.shape))
        what = f"{preprocessing.dtype} inputs" if preprocessing.identity else "an input"
        mend = "give the inputs" if preprocessing.identity else "set --input-size to what"
        raise BadInput(
            f"{plan.model} does not run on {what} of {shape}: {_first_line(error)}; {mend} it was trained on."
        ) from None
    return tuple(tuple(output.shape[1:]) for output in outputs_of(returned, 2))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _check_task(task: Task, shapes: tuple[tuple[int, ...], ...], facts: DataFacts | None) -> None:
    """Hold the labels' shape against the outputs'; whether each class has an output shows when labels are written."""
    label = facts.label_shape if facts else None
    task.check_outputs(shapes)
    outputs = (
        joined(tuple(torch.empty(1, *shape) for shape in shapes)) if task.every_output else torch.empty(1, *shapes[0])
    )
    task.check(tuple(outputs.shape), None if label is None else np.empty((0, *label)))


def _unscored(task: Task, shapes: tuple[tuple[int, ...], ...]) -> tuple[str, ...]:
    if task.every_output or len(shapes) == 1:
        return ()
    return (f"Of the model's {len(shapes)} outputs, only the first is scored.",)


def _settle_order(
    plan: Recipe, teacher: LoadedModel, facts: DataFacts | None, task: Task, outputs: int
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The index order of the labels that the model file states, unless --classes does."""
    if plan.classes or plan.adapt_teacher or facts is None or not facts.labelled or not task.per_class:
        return None, ()
    return agreed_order(facts.classes, teacher.metadata.get("labels"), outputs)


def _write_splits(
    folder: Path,
    source: str,
    plan: Recipe,
    reading: Reading,
    preprocessing: Preprocessing,
    task: Task,
    order: tuple[str, ...] | None,
    output_shape: tuple[int, ...],
    listen: Listener,
) -> DataManifest:
    folder.mkdir(parents=True, exist_ok=True)
    return materialise(
        source,
        folder,
        preprocessing,
        target_shape=output_shape,
        classes_file=Path(plan.classes) if plan.classes else None,
        order=order,
        task=task.name,
        reading=reading,
        seed=plan.seed,
        progress=listen,
    )


def _settle_classes(manifest: DataManifest | None, teacher: LoadedModel, outputs: int) -> tuple[str, ...] | None:
    if manifest and manifest.labelled:
        return check_classes(manifest.classes, outputs, largest_label=manifest.largest_label)
    labels = teacher.metadata.get("labels")
    return tuple(labels) if labels and len(labels) == outputs else None


def _score_teacher(
    folder: Path, teacher: LoadedModel, preprocessing: Preprocessing, task: Task, outputs: int
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Run the teacher over validation and test and keep what it says; return what to update `Figures` by, and notes."""
    splits = {name: open_split(folder / "data", name) for name in _SCORED}
    said = {}
    for name, split in splits.items():
        said[name] = _outputs(teacher, split, preprocessing, task, name)
        np.save(folder / f"teacher_{name}_outputs.npy", said[name])
    labels, known = splits["test"].labels, splits["val"].labels
    if labels is None or known is None:
        log.info("no labels: students are scored by %s with the teacher", task.fidelity_name)
        doubt = task.doubt(np.concatenate(list(said.values())))
        return {}, (doubt,) if doubt else ()
    score = score_number(task, task.statistics(said["test"], labels), place="host")
    log.info("teacher scores %.2f %% (%s) on %d test samples", 100 * score.value, task.score_name, len(labels))
    complaint = task.near_chance(score.value, labels, outputs)
    if complaint:
        raise BadInput(complaint)
    update = {"score": score, "metrics": task.metrics(said["test"], labels)}
    return update, _seen_before(task, score_of(task, said["val"], known), score.value)


def _outputs(
    teacher: LoadedModel, split: Split, preprocessing: Preprocessing, task: Task, name: str
) -> npt.NDArray[np.float32]:
    """What the teacher says of a split, float32 (n, ...), finite."""
    try:
        said = predict_outputs(teacher.module, split, preprocessing, every_output=task.every_output)
    except FAILURES as error:
        raise BadInput(
            f"The model fails on the {name} inputs: {_first_line(error)}; are they what it was trained on (token ids "
            "within its vocabulary, say)?"
        ) from error
    broken = int((~np.isfinite(said.reshape(len(said), -1))).any(axis=1).sum())
    if broken:
        raise BadInput(
            f"The teacher's outputs are not finite on {broken} of {len(said)} {name} samples; its weights or "
            "normalisation are broken."
        )
    return said


def _seen_before(task: Task, validation: float, test: float) -> tuple[str, ...]:
    """Only of classifiers: R2 differs between splits by how much their labels vary."""
    if task is not CLASSIFICATION or validation - test <= SEEN_BEFORE:
        return ()
    return (
        f"The teacher scores {100 * validation:.1f} % on validation and {100 * test:.1f} % on test: it was "
        "probably trained on the validation samples, so scores on validation are too good.",
    )
