"""Which layer of the student is held against which layer of the teacher."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from edgekd.errors import BadInput, UsageError, one_line
from edgekd.record import Record
from edgekd.training.layers import Anatomy, evaluating, stages_by_depth, stages_by_stride, watch
from edgekd.training.similarity import linear_cka
from edgekd.training.taps import Taps, check_layer

CKA_SAMPLES = 128
CKA_FLOOR = 0.05
"""Below it two layers have nothing in common. Measured on CIFAR-10 with `CKA_SAMPLES` inputs: layers of trained ResNets
at the same stride 0.8 and more; of trained nets of unlike architecture, or of an untrained student, 0.1 to 0.8; layers
shown inputs in another order -0.03 to 0.06, with a standard deviation of about 0.01, which grows as the inverse of the
number of inputs. So the floor tells related from unrelated; it cannot tell the best layer of an untrained student."""
MIN_SAMPLES = 8
CHUNK = 32
"""Inputs that run at once, which bounds the memory that features take."""
GRID = 8
"""Height and width of the maps that CKA sees at most."""
MAX_STAGES = 4
"""As many as the stages of a ResNet, between which most feature losses were published."""
Rows = npt.NDArray[np.float32]
STUDENT, TEACHER = "the student", "the teacher"


class Pair(Record):
    """Two layers whose features are matched, with the shapes of these without the batch.

    `cka` is the unbiased linear CKA of both over the example batch: 1 for the same features, near 0 for unrelated ones.
    """

    student: str
    teacher: str
    student_shape: tuple[int, ...]
    teacher_shape: tuple[int, ...]
    cka: float


class Pairing(Record):
    """The pairs that were found, from input to output, and a sentence for each that was not taken."""

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()


def find_pairs(student: nn.Module, teacher: nn.Module, example: torch.Tensor) -> Pairing:
    """Pair the layers of two networks by their stages, and keep what CKA confirms.

    Feature maps of images are paired by output stride, the results of stages; anything else by relative depth, as
    TinyBERT does (Jiao et al. 2020, section 3.1), at most `MAX_STAGES` pairs. Last comes the vector that the classifier
    reads. In a pruned teacher these are the teacher's own layers of the same names. Pairs whose CKA is below
    `CKA_FLOOR`, or more where there are fewer inputs than `CKA_SAMPLES`, are left out, each with a sentence.

    Args:
        example: model inputs (batch, ...) on the models' device, at least `MIN_SAMPLES`, of which up to `CKA_SAMPLES`
            are used.

    Raises:
        BadInput: fewer inputs than that, or features that are not finite.
    """
    _check_samples(example)
    ours, theirs = watch(student, example), watch(teacher, example)
    measured = _measure(_candidates(ours, theirs), student, teacher, example)
    floor = _floor(example)
    kept = tuple(pair for pair in measured if pair.cka >= floor)
    notes = [
        f"{pair.student} of the student was not paired with {pair.teacher} of the teacher, because their CKA is "
        f"{pair.cka:.2f} and less than {floor:.2g} may be chance"
        for pair in measured
        if pair not in kept
    ]
    if not measured:
        blind = [whose for whose, found in ((STUDENT, ours), (TEACHER, theirs)) if not found.layers]
        notes = [f"no layers of {whose} can be read" for whose in blind] or [
            "no layers of the student and the teacher correspond by output stride, depth or classifier"
        ]
    return Pairing(pairs=kept, notes=tuple(one_line(note) for note in notes))


def named_pairs(texts: Sequence[str], student: nn.Module, teacher: nn.Module, example: torch.Tensor) -> Pairing:
    """Pair the layers that the user names, each text "STUDENT=TEACHER"; ":input" behind a name means what goes in.

    `example` is as for `find_pairs`. Pairs of low CKA are kept, as they were asked for, and a note says so.

    Raises:
        UsageError: a text has another form.
        BadInput: there is no layer of that name, it does not run, or `example` is too small.
    """
    _check_samples(example)
    named = [_split(text) for text in texts]
    for ours, theirs in named:
        check_layer(student, ours, whose=STUDENT)
        check_layer(teacher, theirs, whose=TEACHER)
    pairs, floor = _measure(named, student, teacher, example), _floor(example)
    notes = [
        f"{pair.student} of the student and {pair.teacher} of the teacher have little in common: their CKA is "
        f"{pair.cka:.2f}, and less than {floor:.2g} may be chance"
        for pair in pairs
        if pair.cka < floor
    ]
    return Pairing(pairs=pairs, notes=tuple(one_line(note) for note in notes))


def feature_similarity(student: nn.Module, teacher: nn.Module, example: torch.Tensor) -> dict[str, float]:
    """Return the CKA of every pair of layers that correspond, by "STUDENT=TEACHER", low ones too.

    `example` is as for `find_pairs`; of fewer samples than that asks for, nothing can be said.
    """
    if len(example) < MIN_SAMPLES:
        return {}
    ours, theirs = watch(student, example), watch(teacher, example)
    measured = _measure(_candidates(ours, theirs), student, teacher, example)
    return {f"{pair.student}={pair.teacher}": pair.cka for pair in measured}


def describe(pairs: Iterable[Pair]) -> list[str]:
    """Return a line for each pair, beginning with the text that names it again."""
    return [
        one_line(f"{pair.student}={pair.teacher}  {_size(pair.student_shape)} for {_size(pair.teacher_shape)}")
        + f", CKA {pair.cka:.2f}"
        for pair in pairs
    ]


def _candidates(ours: Anatomy, theirs: Anatomy) -> list[tuple[str, str]]:
    """Names of student and teacher layers that stand at the same place, from input to output."""
    here, there = stages_by_stride(ours), stages_by_stride(theirs)
    common = [stride for stride in here if stride in there][-MAX_STAGES:]
    pairs = [(here[stride].name, there[stride].name) for stride in common]
    if not here and not there:
        pairs = _by_depth(ours, theirs)
    if ours.head and theirs.head:
        pairs.append((ours.head.name, theirs.head.name))
    return pairs


def _by_depth(ours: Anatomy, theirs: Anatomy) -> list[tuple[str, str]]:
    """Evenly spread over the steps of both; a last step that gives a vector is what the head reads, and left to it."""
    here, there = stages_by_depth(ours), stages_by_depth(theirs)
    count = min(MAX_STAGES, len(here), len(there))
    shares = [i / count for i in range(1, count + 1)]
    spread = [(here[round(len(here) * share) - 1], there[round(len(there) * share) - 1]) for share in shares]
    if ours.head and theirs.head and spread and len(spread[-1][0].shape) == 1:
        spread.pop()
    return [(mine.name, other.name) for mine, other in spread if len(mine.shape) == len(other.shape)]


def _measure(
    names: Sequence[tuple[str, str]], student: nn.Module, teacher: nn.Module, example: torch.Tensor
) -> tuple[Pair, ...]:
    if not names:
        return ()
    inputs = example[:CKA_SAMPLES]
    here, our_shapes = _features(student, [ours for ours, _ in names], inputs, whose=STUDENT)
    there, their_shapes = _features(teacher, [theirs for _, theirs in names], inputs, whose=TEACHER)
    return tuple(
        Pair(
            student=ours,
            teacher=theirs,
            student_shape=our_shapes[i],
            teacher_shape=their_shapes[i],
            cka=linear_cka(here[i], there[i], unbiased=True),
        )
        for i, (ours, theirs) in enumerate(names)
    )


def _features(
    module: nn.Module, names: Sequence[str], inputs: torch.Tensor, *, whose: str
) -> tuple[list[Rows], list[tuple[int, ...]]]:
    """The features of each layer as rows (n, p), and their shapes without the batch, taken chunk by chunk.

    Raises BadInput where features do not begin with the batch, or are not finite.
    """
    layers = [f"layer {name!r} of {whose}" for name in names]
    chunks: list[list[Rows]] = []
    with evaluating(module), Taps(module, names, whose=whose) as taps:
        for start in range(0, len(inputs), CHUNK):
            chunk = inputs[start : start + CHUNK]
            module(chunk)
            features = taps.read()
            chunks.append([_rows(feature, len(chunk), layer) for layer, feature in zip(layers, features, strict=True)])
    rows = [np.concatenate(parts) for parts in zip(*chunks, strict=True)]
    return rows, [tuple(feature.shape[1:]) for feature in features]


def _rows(features: torch.Tensor, batch: int, layer: str) -> Rows:
    """Features as (n, p). Maps are averaged over a grid, which changes CKA by a few hundredths and is much faster."""
    if features.dim() < 2 or len(features) != batch:
        shape = tuple(features.shape)
        raise BadInput(f"{layer} gives {shape} for {batch} inputs, not (batch, ...); pair another layer")
    if features.dim() == 4:
        features = F.adaptive_avg_pool2d(features, (min(features.shape[2], GRID), min(features.shape[3], GRID)))
    rows = features.flatten(1).float().cpu().numpy()
    if not np.isfinite(rows).all():
        raise BadInput(f"{layer} gives NaN or infinite values; check its weights and the data")
    return rows


def _floor(example: torch.Tensor) -> float:
    return CKA_FLOOR * max(1.0, CKA_SAMPLES / len(example))


def _split(text: str) -> tuple[str, str]:
    ours, separator, theirs = (part.strip() for part in text.partition("="))
    if not (ours and separator and theirs) or "=" in theirs:
        raise UsageError(f"a pair of layers is named STUDENT=TEACHER, such as layer1=layer2.0, not {one_line(text)!r}")
    return ours, theirs


def _check_samples(example: torch.Tensor) -> None:
    if len(example) < MIN_SAMPLES:
        raise BadInput(
            f"layers are paired on at least {MIN_SAMPLES} inputs, and there are {len(example)}; give more training data"
        )


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
