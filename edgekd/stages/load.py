"""Stage 1: read the model and the data, settle how images become inputs, and score the teacher before anything else."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgekd.data.classes import agreed_order
from edgekd.data.materialise import DataManifest, check_classes, materialise, open_split
from edgekd.data.peek import DataFacts, peek
from edgekd.errors import BadInput
from edgekd.formats.architecture import architecture_metadata
from edgekd.formats.read import LoadedModel, read_model
from edgekd.preprocessing import Preprocessing, resolve_preprocessing
from edgekd.progress import Listener
from edgekd.recipe import Recipe
from edgekd.record import Record
from edgekd.results import Figures
from edgekd.students.macs import count_macs
from edgekd.tasks.classification import CLASSIFICATION, accuracy, correct, near_chance, predicted, score_number
from edgekd.training.evaluate import predict_logits

log = logging.getLogger(__name__)

_PREPROCESSING_OPTIONS = ("input_size", "mean", "std", "scale", "channels", "resize", "crop")

SEEN_BEFORE = 0.03
"""A teacher this much better on validation than on test has most likely been trained on the validation images."""
ONE_ANSWER = 0.95
"""Share of unlabelled images above which a single answer is suspected to come from a broken teacher."""


class Loaded(Record):
    """What came in: the teacher's figures, the data's splits, and the preprocessing that joins them."""

    kind: str
    sha256: str
    trainable: bool
    preprocessing: Preprocessing
    outputs: int
    classes: tuple[str, ...] | None
    manifest: DataManifest | None
    score_name: str | None
    teacher: Figures
    notes: tuple[str, ...]


def open_teacher(plan: Recipe) -> LoadedModel:
    """Read the model file that the plan names; cheap enough to be done by every stage that needs the module."""
    if plan.model is None:
        raise BadInput("No model was given; name a .pt2, .pt, .safetensors or .onnx file.")
    return read_model(Path(plan.model), arch=plan.arch, trust=plan.trust)


def load(folder: Path, *, plan: Recipe, listen: Listener) -> Loaded:
    """Read the teacher, write the splits to `folder/data`, and score the teacher on validation and test.

    Raises:
        BadInput: the model or data cannot be used, they disagree, or the teacher scores no better than chance.
    """
    teacher = open_teacher(plan)
    classes_file = Path(plan.classes) if plan.classes else None
    facts = peek(plan.data, classes_file=classes_file) if plan.data else None
    preprocessing = _settle_preprocessing(plan, teacher, facts)
    for setting, origin in preprocessing.origin.items():
        log.info("%s %s (%s)", setting, getattr(preprocessing, setting, ""), origin)
    outputs = _count_outputs(teacher, preprocessing, plan)
    order, notes = _settle_order(plan, teacher, facts, outputs)
    manifest = _write_splits(folder / "data", plan, preprocessing, order, listen) if plan.data else None
    classes = _settle_classes(manifest, teacher, outputs)
    example = torch.zeros(1, *preprocessing.shape)
    figures = Figures(
        macs=count_macs(teacher.module, example) or None if teacher.onnx_path is None else None,
        params=sum(p.numel() for p in teacher.module.parameters()) or None,
    )
    score_name: str | None = None
    if manifest:
        score_name = "accuracy" if manifest.labelled else "agreement"
        score, said = _score_teacher(folder, teacher, preprocessing, outputs)
        figures, notes = figures.model_copy(update=score), (*notes, *said)
    return Loaded(
        kind=teacher.kind,
        sha256=teacher.sha256,
        trainable=teacher.trainable,
        preprocessing=preprocessing,
        outputs=outputs,
        classes=classes,
        manifest=manifest,
        score_name=score_name,
        teacher=figures,
        notes=(*teacher.notes, *(manifest.notes if manifest else ()), *notes),
    )


def _settle_preprocessing(plan: Recipe, teacher: LoadedModel, facts: DataFacts | None) -> Preprocessing:
    options = {name: getattr(plan, name) for name in _PREPROCESSING_OPTIONS}
    timm_config = architecture_metadata(plan.arch) if plan.arch else {}
    return resolve_preprocessing(
        {name: value for name, value in options.items() if value is not None},
        metadata=teacher.metadata,
        timm_config=timm_config,
        facts=facts,
        input_shape=teacher.input_shape,
    )


def _count_outputs(teacher: LoadedModel, preprocessing: Preprocessing, plan: Recipe) -> int:
    """Number of logits; also the first proof that the model runs on inputs of this shape."""
    try:
        with torch.inference_mode():
            result = teacher.module(torch.zeros(2, *preprocessing.shape))
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        shape = "x".join(map(str, preprocessing.shape))
        first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise BadInput(
            f"{plan.model} does not run on an input of {shape}: {first}; set --input-size to what it was trained on."
        ) from None
    first_output = result[0] if isinstance(result, (tuple, list)) else result
    if not isinstance(first_output, torch.Tensor) or first_output.ndim != 2:
        raise BadInput(
            f"{plan.model} returns {_describe(first_output)}; only classifiers, which return logits (batch, classes), "
            "can be compressed so far."
        )
    if first_output.shape[1] < 2:
        raise BadInput(
            f"{plan.model} has {first_output.shape[1]} output; a classifier has one for each class, so at least 2 (a "
            "yes-or-no model of one output z becomes one with the logits 0 and z)."
        )
    return int(first_output.shape[1])


def _describe(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"


def _settle_order(
    plan: Recipe, teacher: LoadedModel, facts: DataFacts | None, outputs: int
) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The index order of the labels that the model file states, unless --classes does."""
    if plan.classes or facts is None or not facts.labelled:
        return None, ()
    return agreed_order(facts.classes, teacher.metadata.get("labels"), outputs)


def _write_splits(
    folder: Path, plan: Recipe, preprocessing: Preprocessing, order: tuple[str, ...] | None, listen: Listener
) -> DataManifest:
    folder.mkdir(parents=True, exist_ok=True)
    return materialise(
        str(plan.data),
        folder,
        height=preprocessing.height,
        width=preprocessing.width,
        channels=preprocessing.channels,
        resize=preprocessing.resize,
        crop=preprocessing.crop,
        classes_file=Path(plan.classes) if plan.classes else None,
        order=order,
        seed=plan.seed,
        progress=listen,
    )


def _settle_classes(manifest: DataManifest | None, teacher: LoadedModel, outputs: int) -> tuple[str, ...] | None:
    if manifest and manifest.labelled:
        return check_classes(manifest.classes, outputs, largest_label=manifest.largest_label)
    labels = teacher.metadata.get("labels")
    return tuple(labels) if labels and len(labels) == outputs else None


def _score_teacher(
    folder: Path, teacher: LoadedModel, preprocessing: Preprocessing, outputs: int
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Run the teacher over validation and test and keep its logits; return what to update `Figures` by, and notes."""
    splits = {"val": open_split(folder / "data", "val"), "test": open_split(folder / "data", "test")}
    logits = {}
    for name, split in splits.items():
        logits[name] = predict_logits(teacher.module, split, preprocessing)
        np.save(folder / f"teacher_{name}_logits.npy", logits[name])
        _check_finite(logits[name], name)
    labels, known = splits["test"].labels, splits["val"].labels
    if labels is None or known is None:
        log.info("no labels: students are scored by agreement with the teacher")
        return {}, _one_answer(predicted(np.concatenate(list(logits.values()))))
    score = score_number(correct(logits["test"], labels), place="host")
    log.info("teacher scores %.2f %% on %d test images", 100 * score.value, len(labels))
    complaint = near_chance(score.value, labels, outputs)
    if complaint:
        raise BadInput(complaint)
    update = {"score": score, "metrics": CLASSIFICATION.metrics(logits["test"], labels)}
    return update, _seen_before(accuracy(logits["val"], known), score.value)


def _check_finite(logits: npt.NDArray[np.float32], split: str) -> None:
    broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if broken:
        raise BadInput(
            f"The teacher's logits are not finite on {broken} of {len(logits)} {split} images; its weights or "
            "normalisation are broken."
        )


def _one_answer(answers: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """Without labels nobody can tell a broken teacher by its score, but one that says the same of everything shows."""
    most, share = int(np.bincount(answers).argmax()), float(np.bincount(answers).max() / len(answers))
    if share <= ONE_ANSWER:
        return ()
    return (
        f"The teacher puts {100 * share:.1f} % of the unlabelled images into class {most}: unless that is so, its "
        "weights or normalisation are wrong, and agreement with it says little.",
    )


def _seen_before(validation: float, test: float) -> tuple[str, ...]:
    if validation - test <= SEEN_BEFORE:
        return ()
    return (
        f"The teacher scores {100 * validation:.1f} % on validation and {100 * test:.1f} % on test: it was "
        "probably trained on the validation images, so scores on validation are too good.",
    )
