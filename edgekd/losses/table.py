"""The losses by name, with what the literature uses them with, and how a choice of them is written.

Weights of feature losses are those of RepDistiller, the code of Tian et al. 2020, for CIFAR-100, unless said otherwise.
A feature loss is the mean over pairs of layers where papers take the sum; so a weight here is the paper's times the
number of layers there, and does not depend on how many pairs are found.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from pydantic import Field
from torch import nn

from edgekd.errors import UsageError, did_you_mean
from edgekd.losses import attention, detection, features, labels, logits, outputs
from edgekd.losses.layers import Layers, PerLayer, Suiting, suiting
from edgekd.losses.projectors import Aligned, Embedded, Shapes
from edgekd.losses.review import Review
from edgekd.losses.tensors import Outputs
from edgekd.record import Record

LABELS = "labels"
"""The name under which the labels' own loss is weighted."""
CRD_CHANNELS = 128
"""Of contrastive embeddings, from the authors' code."""


class OutputFunction(Protocol):
    """How a student's outputs are compared with its teacher's: a scalar."""

    def __call__(
        self, student: Outputs, teacher: Outputs, *, labels: torch.Tensor | None, temperature: float
    ) -> torch.Tensor: ...


class LabelFunction(Protocol):
    """How a student's output (batch, ...) is compared with labels: a scalar."""

    def __call__(
        self, student: torch.Tensor, labels: torch.Tensor, *, label_smoothing: float = 0.0
    ) -> torch.Tensor: ...


@dataclass(frozen=True)
class OutputLoss:
    """A loss between outputs, and what it is used with where nothing else is asked for.

    weight: of the loss. label_weight: of the labels' own loss beside it. temperature: ignored by losses without a
    softmax or sigmoid.
    """

    function: OutputFunction
    paper: str
    weight: float = 1.0
    label_weight: float = 1.0
    temperature: float = 1.0
    needs_labels: bool = False


@dataclass(frozen=True)
class FeatureLoss:
    """A loss between pairs of layers: what shapes suit it, and the module that computes it."""

    module: Callable[[Shapes, Shapes], nn.Module]
    layers: Layers
    paper: str
    weight: float = 1.0

    def build(self, students: Shapes, teachers: Shapes) -> Suiting:
        """Return the loss of features (batch, ...) of layers of these shapes, which are without the batch.

        It takes the students' features and the teachers', in this order, and compares the pairs that suit. Its
        parameters want training with the student's; they start from torch's global generator. To be called outside
        autocast. Raises BadInput where no pair suits.
        """
        used = suiting(self.layers, students, teachers)
        return Suiting(self.module(tuple(students[at] for at in used), tuple(teachers[at] for at in used)), used)


class WeightedLoss(Record):
    """A loss by name, or "labels", and its weight in the sum that is trained on."""

    name: str
    weight: float = Field(ge=0, allow_inf_nan=False)


def find_loss(name: str) -> OutputLoss | FeatureLoss:
    """Return the loss of that name. Raises UsageError with the nearest name where there is none."""
    known: dict[str, OutputLoss | FeatureLoss] = {**OUTPUT_LOSSES, **FEATURE_LOSSES}
    if name not in known:
        raise UsageError(f"there is no loss {name!r}{did_you_mean(name, [*known, LABELS])}")
    return known[name]


def needs_labels(name: str) -> bool:
    """Whether the loss of that name compares outputs in the light of labels, and so leaves out what has none."""
    return name in OUTPUT_LOSSES and OUTPUT_LOSSES[name].needs_labels


def parse_losses(texts: Sequence[str]) -> tuple[WeightedLoss, ...]:
    """Return the losses that texts such as "decoupled", "attention_transfer=300" or "labels=0.5" name, in order.

    A weight that is left out is the table's. The labels' loss comes last where it is not named, with the weight that
    belongs to the first loss between outputs, or 1 without one.

    Raises:
        UsageError: an unknown name, one given twice, or a weight that is no number of 0 and more.
    """
    weights: dict[str, float] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        own = 1.0 if name == LABELS else find_loss(name).weight
        if name in weights:
            raise UsageError(f"the loss {name!r} is given twice, the second time as {text!r}; give it once")
        weights[name] = _weight(value, text) if equals else own
    beside = [OUTPUT_LOSSES[name].label_weight for name in weights if name in OUTPUT_LOSSES]
    weights.setdefault(LABELS, beside[0] if beside else 1.0)
    return tuple(WeightedLoss(name=name, weight=weight) for name, weight in weights.items())


def _weight(value: str, text: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise UsageError(f"the weight in {text!r} is no number of 0 and more; write it like {text.partition('=')[0]}=1")
    return weight


_POOLED = partial(Aligned, grid=False, project=False)

OUTPUT_LOSSES: dict[str, OutputLoss] = {
    "soft_targets": OutputLoss(
        logits.soft_targets, "Hinton, Vinyals and Dean 2015", weight=0.9, label_weight=0.1, temperature=4.0
    ),
    # A spread of 1 makes loss and gradient small, and wants the larger weight.
    "standardised_logits": OutputLoss(
        logits.standardised_logits, "Sun et al. 2024", weight=9.0, label_weight=0.1, temperature=2.0
    ),
    "decoupled": OutputLoss(logits.decoupled, "Zhao et al. 2022", temperature=4.0, needs_labels=True),
    # The paper's weight of both parts, and temperature, for CIFAR-100.
    "correlation": OutputLoss(logits.correlation, "Huang et al. 2022", weight=2.0, temperature=4.0),
    "normalised": OutputLoss(logits.normalised, "Yang et al. 2023", needs_labels=True),
    # Both errors are in the labels' units, so that even shares ask for the midpoint of teacher and label.
    "squared_error": OutputLoss(outputs.squared_error, "Ba and Caruana 2014", weight=0.5, label_weight=0.5),
    "cosine_distance": OutputLoss(outputs.cosine_distance, "Sanh et al. 2019"),
    "teacher_bounded": OutputLoss(outputs.teacher_bounded, "Chen et al. 2017", weight=0.5, needs_labels=True),
    "dense_heads": OutputLoss(outputs.dense_heads, "Mehta and Ozturk 2018"),
    # A teacher's word at every position; of 1 and 4 the better on the validation images of BCCD.
    "dense_boxes": OutputLoss(detection.dense_boxes, "Mehta and Ozturk 2018", weight=4.0),
}

FEATURE_LOSSES: dict[str, FeatureLoss] = {
    "hint": FeatureLoss(
        partial(PerLayer, features.hint, partial(Aligned, grid=True, project=True)),
        "alike",
        "Romero et al. 2015",
        weight=100.0,
    ),
    # 1000 for each of three groups of blocks in the authors' code.
    "attention_transfer": FeatureLoss(
        partial(PerLayer, features.attention_transfer, partial(Aligned, grid=True, project=False)),
        "maps",
        "Zagoruyko and Komodakis 2017",
        weight=3000.0,
    ),
    "similarity": FeatureLoss(partial(PerLayer, features.similarity, None), "any", "Tung and Mori 2019", weight=3000.0),
    "relational": FeatureLoss(partial(PerLayer, features.relational, _POOLED), "any", "Park et al. 2019"),
    "probabilistic": FeatureLoss(
        partial(PerLayer, features.probabilistic, _POOLED), "any", "Passalis and Tefas 2018", weight=3e4
    ),
    "contrastive": FeatureLoss(
        partial(PerLayer, features.contrastive, partial(Embedded, channels=CRD_CHANNELS)),
        "any",
        "Tian, Krishnan and Isola 2020",
        weight=0.8,
    ),
    # 1 for a sum over five stages; the authors take 0.6 to 8 by pair of models.
    "review": FeatureLoss(Review, "stages", "Chen et al. 2021", weight=5.0),
    # 1 for each of the four layers of TinyBERT-4.
    "attention_maps": FeatureLoss(
        partial(PerLayer, attention.attention_maps, None), "attention", "Jiao et al. 2020", weight=4.0
    ),
    "value_relations": FeatureLoss(partial(PerLayer, attention.value_relations, None), "tokens", "Wang et al. 2021"),
}

LABEL_LOSSES: dict[str, LabelFunction] = {
    "cross_entropy": labels.cross_entropy,
    "squared_error": labels.squared_error,
    "detection": detection.detection,
}
