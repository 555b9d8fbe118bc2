"""A teacher whose inputs have a front before them, as `--front` asks: waveforms for a net trained on log-mel frames."""

import logging
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from edgekd.errors import UsageError
from edgekd.formats.encoder_directory import of_pairs
from edgekd.formats.outputs import FAILURES
from edgekd.formats.read import LoadedModel
from edgekd.fronts.fronted import Fronted
from edgekd.fronts.log_mel import LogMel, log_mel
from edgekd.fronts.place import Place
from edgekd.fronts.table import FrontSpec, build_fronts, parse_front, shape_behind
from edgekd.preprocessing import Preprocessing
from edgekd.recipe import Recipe

log = logging.getLogger(__name__)


def front_specs(plan: Recipe, kind: str) -> list[FrontSpec]:
    """What --front asks for before a model of this kind. Raises UsageError where that cannot be, whatever the inputs.

    `kind` is as `FileKind.kind` has it.
    """
    specs = [parse_front(text) for text in plan.front]
    if any(spec.name == "pca" for spec in specs):
        raise UsageError("--front pca has no components to stand before a trained model; it is for --student-input")
    if specs and kind == "onnx":
        raise UsageError(
            "--front cannot be put before an ONNX file, which is run as it came; give the model that it was exported "
            "from, or inputs as it takes them"
        )
    return specs


def put_front(plan: Recipe, teacher: LoadedModel, preprocessing: Preprocessing) -> tuple[LoadedModel, Preprocessing]:
    """Put the plan's fronts before a teacher as read, and settle the inputs' shape by what stands there then.

    A number of frames that is fixed in the model decides how long sounds are, unless --duration does. A model of
    sounds that is known to take another rank, or turns out to, gets its one channel.

    Raises UsageError where a front is unknown or does not fit, or the model can only be run as it is.
    """
    if not plan.front:
        return with_front(plan, teacher, preprocessing), _with_channel(teacher, preprocessing)
    specs = front_specs(plan, teacher.kind)
    fixed = teacher.input_shape[-1] if teacher.input_shape else None
    if [spec.name for spec in specs] == ["log_mel"] and fixed and plan.duration is None and plan.data:
        preprocessing = _with_frames(preprocessing, log_mel(_place(preprocessing), **specs[0].options), fixed)
    return with_front(plan, teacher, preprocessing), preprocessing


def with_front(plan: Recipe, teacher: LoadedModel, preprocessing: Preprocessing) -> LoadedModel:
    """The teacher behind the plan's fronts, for inputs as `preprocessing` says. Raises UsageError as `put_front`."""
    if preprocessing.tokens is not None:
        teacher = replace(teacher, module=of_pairs(teacher.module, preprocessing.tokens.separator))
    if not plan.front:
        return teacher
    specs = front_specs(plan, teacher.kind)
    fronts = build_fronts(specs, _place(preprocessing))
    shape = shape_behind(fronts, preprocessing.shape)
    if _wants_channel(teacher, shape):
        fronts = build_fronts([*specs, FrontSpec(name="channel")], _place(preprocessing))
    log.info("before the model: %s give %s", " ".join(plan.front), shape_behind(fronts, preprocessing.shape))
    return replace(teacher, module=Fronted(fronts, teacher.module).eval(), input_shape=None)


def _place(preprocessing: Preprocessing) -> Place:
    return Place(preprocessing.shape, preprocessing.sample_rate)


def _with_frames(preprocessing: Preprocessing, front: LogMel, frames: int) -> Preprocessing:
    """Sounds of the fewest samples that give the model its frames."""
    origin = {**preprocessing.origin, "input_shape": f"the {frames} frames that the model takes"}
    return preprocessing.model_copy(update={"input_shape": (front.samples(frames),), "origin": origin})


def _with_channel(teacher: LoadedModel, preprocessing: Preprocessing) -> Preprocessing:
    """Waveforms (1, samples) where a model whose file does not say so takes no others."""
    if preprocessing.sample_rate is None or teacher.input_shape is not None:
        return preprocessing
    if not _wants_channel(teacher, preprocessing.shape):
        return preprocessing
    origin = {**preprocessing.origin, "input_shape": f"{preprocessing.origin.get('input_shape')}; the model's channel"}
    return preprocessing.model_copy(update={"input_shape": (1, *preprocessing.shape), "origin": origin})


def _wants_channel(teacher: LoadedModel, shape: tuple[int, ...]) -> bool:
    if teacher.input_shape is not None:
        return len(teacher.input_shape) == len(shape) + 2
    return not _runs(teacher.module, shape) and _runs(teacher.module, (1, *shape))


def _runs(module: nn.Module, shape: tuple[int, ...]) -> bool:
    try:
        with torch.inference_mode():
            said: Any = module(torch.zeros(2, *shape))
    except FAILURES:
        return False
    return said is not None
