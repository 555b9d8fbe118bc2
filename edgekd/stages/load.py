"""Stage 1: read the model and the data, settle how images become inputs, and score the teacher before anything else."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgekd.data.materialise import DataManifest, check_classes, materialise, open_split
from edgekd.data.peek import DataFacts, peek
from edgekd.data.split import Split
from edgekd.errors import BadInput
from edgekd.formats.architecture import architecture_metadata
from edgekd.formats.read import LoadedModel, read_model
from edgekd.preprocessing import Preprocessing, resolve_preprocessing
from edgekd.progress import Listener
from edgekd.recipe import Recipe
from edgekd.record import Record
from edgekd.results import Figures
from edgekd.students.macs import count_macs
from edgekd.tasks.classification import CLASSIFICATION, near_chance, score_number
from edgekd.training.evaluate import predict_logits

log = logging.getLogger(__name__)

_PREPROCESSING_OPTIONS = ("input_size", "mean", "std", "scale", "channels", "resize", "crop")

SEEN_BEFORE = 0.03
"""A teacher this much better on validation than on test has most likely been trained on the validation images."""


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
    manifest = _write_splits(folder / "data", plan, preprocessing, listen) if plan.data else None
    classes = _settle_classes(manifest, teacher, outputs)
    example = torch.zeros(1, *preprocessing.shape)
    figures = Figures(
        macs=count_macs(teacher.module, example) if teacher.onnx_path is None else None,
        params=sum(p.numel() for p in teacher.module.parameters()) or None,
    )
    score_name: str | None = None
    seen: tuple[str, ...] = ()
    if manifest:
        score_name = "accuracy" if manifest.labelled else "agreement"
        figures, seen = _score_teacher(folder, teacher, preprocessing, figures, outputs)
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
        notes=(*teacher.notes, *(manifest.notes if manifest else ()), *seen),
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
    return int(first_output.shape[1])


def _describe(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"


def _write_splits(folder: Path, plan: Recipe, preprocessing: Preprocessing, listen: Listener) -> DataManifest:
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
        seed=plan.seed,
        progress=listen,
    )


def _settle_classes(manifest: DataManifest | None, teacher: LoadedModel, outputs: int) -> tuple[str, ...] | None:
    if manifest and manifest.labelled:
        return check_classes(manifest.classes, outputs, largest_label=manifest.largest_label)
    labels = teacher.metadata.get("labels")
    return tuple(labels) if labels and len(labels) == outputs else None


def _score_teacher(
    folder: Path, teacher: LoadedModel, preprocessing: Preprocessing, figures: Figures, outputs: int
) -> tuple[Figures, tuple[str, ...]]:
    logits = {}
    splits: dict[str, Split] = {}
    for name in ("val", "test"):
        splits[name] = open_split(folder / "data", name)
        logits[name] = predict_logits(teacher.module, splits[name], preprocessing)
        np.save(folder / f"teacher_{name}_logits.npy", logits[name])
    test, labels = logits["test"], splits["test"].labels
    if not np.isfinite(test).all():
        raise BadInput(
            "The teacher's logits are not finite on the test images; its weights or normalisation are broken."
        )
    if labels is None or splits["val"].labels is None:
        log.info("no labels: students are scored by agreement with the teacher")
        return figures, ()
    score = score_number(test.argmax(1) == labels, place="host")
    log.info("teacher scores %.2f %% on %d test images", 100 * score.value, len(labels))
    complaint = near_chance(score.value, labels, outputs)
    if complaint:
        raise BadInput(complaint)
    validation = float((logits["val"].argmax(1) == splits["val"].labels).mean())
    figures = figures.model_copy(update={"score": score, "metrics": CLASSIFICATION.metrics(test, labels)})
    if validation - score.value <= SEEN_BEFORE:
        return figures, ()
    return figures, (
        f"The teacher scores {100 * validation:.1f} % on validation and {100 * score.value:.1f} % on test: it was "
        "probably trained on the validation images, so scores on validation are too good.",
    )
