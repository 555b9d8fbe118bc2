"""Which samples become parity vectors, and how far another machine may be from them.

A vector is worth something where the answer is not in doubt on a sound machine, and another one where the app feeds the
model wrongly. So they are taken among samples on which the shipped file agrees with the pipeline, with margins larger
than twice the tolerance, such that each spoiled way of feeding is caught, from as many classes as there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgekd.artifact.contract import Contract
from edgekd.artifact.parity.answers import Outputs, Vector, answers_of, differences, objects_in
from edgekd.artifact.parity.files import Tolerance, relative_difference

VECTORS = 8
HEADROOM = 2.0
"""The tolerance is so many times what the shipped file shows here: other kernels round in other places."""
LEAST = Tolerance(input=1e-5, output=0.05, probability=0.02, box=0.02)
"""The tolerance is never below: judgements on integer kernels of other instruction sets, far below what a wrong
preprocessing shows. `input` is rounding alone; a level of 255 is a hundred times as much."""
FLOORS = (0.02, 0.01, 0.005)
"""Least tolerances of a probability, tried in turn: of scenes full of objects none may be beyond doubt by the first."""
MOST = 0.99
LABELS = "labels in another order"
NMS_DOUBT = 0.02
"""Boxes of one class that overlap this close to the limit are in doubt."""


@dataclass(frozen=True)
class Known:
    """What is known of samples: outputs that the pipeline expects, each (n, ...), those that the shipped file gives on
    each machine, here first (of images also as app.onnx resizes them), those that it gives here under each spoiled way
    of feeding, by name, and the sizes of the raw images."""

    expected: Outputs
    given: Sequence[Outputs]
    spoiled: Mapping[str, Outputs]
    sizes: Sequence[tuple[int, int]]

    def only(self, samples: Sequence[int], *there: Outputs) -> "Known":
        """The same of some samples, with what further machines give for these."""

        def of(outputs: Outputs) -> Outputs:
            return [one[list(samples)] for one in outputs]

        given = [*map(of, self.given), *there]
        spoiled = {name: of(outputs) for name, outputs in self.spoiled.items()}
        return Known(of(self.expected), given, spoiled, [self.sizes[at] for at in samples])


@dataclass(frozen=True)
class Chosen:
    """Samples by index, their answers, the tolerance, and the ways of feeding and naming that none of them catches."""

    samples: tuple[int, ...]
    vectors: tuple[Vector, ...]
    tolerance: Tolerance
    not_caught: tuple[str, ...]


def choose(contract: Contract, known: Known) -> Chosen | None:
    """Choose up to `VECTORS` samples; None where not one is beyond doubt."""
    tries = (_choose(contract, known, LEAST.model_copy(update={"probability": floor})) for floor in FLOORS)
    return next((found for found in tries if found is not None), None)


def _choose(contract: Contract, known: Known, least: Tolerance) -> Chosen | None:
    wanted = answers_of(contract, known.expected, known.sizes)
    apart = _apart(contract, known, wanted)
    agreed = {at: found for at, found in enumerate(apart) if found is not None}
    telling = {at: found for at, found in agreed.items() if wanted[at].indices}  # an image without objects tells little
    pool = _nearest(telling or agreed, known)
    if not pool:
        return None
    tolerance = _tolerance(apart, known, pool, least)
    pool = [at for at in pool if _is_decided(contract, known.expected, at, wanted[at], tolerance)]
    if not pool:
        return None
    catches = {at: _caught_by(contract, known, at, wanted[at], tolerance) for at in pool}
    samples = _pick(pool, wanted, catches, known.sizes)
    caught = set().union(*(catches[at] for at in samples))
    spoils = (*known.spoiled, *((LABELS,) if contract.labels else ()))
    return Chosen(
        samples=samples,
        vectors=tuple(wanted[at] for at in samples),
        tolerance=_tolerance(apart, known, samples, least),
        not_caught=tuple(name for name in spoils if name not in caught),
    )


def _apart(contract: Contract, known: Known, wanted: Sequence[Vector]) -> list[tuple[float, float] | None]:
    """By sample, how far the answer is from the one wanted at most; None where it is another one on any machine."""
    machines = [answers_of(contract, given, known.sizes) for given in known.given]
    worst: list[tuple[float, float] | None] = []
    for at, (one, size) in enumerate(zip(wanted, known.sizes, strict=True)):
        found = [differences(one, said[at], max(size)) for said in machines]
        agreed = [each for each in found if each is not None]
        together = tuple(max(values) for values in zip(*agreed, strict=True))
        worst.append((together[0], together[1]) if len(agreed) == len(found) else None)
    return worst


def _outputs_apart(known: Known, samples: list[int]) -> float:
    """How far outputs are from those expected at most, relative to the largest expected on these samples."""
    return max(
        relative_difference(one[samples], other[samples])
        for given in known.given
        for one, other in zip(known.expected, given, strict=True)
    )


def _nearest(agreed: Mapping[int, tuple[float, float]], known: Known) -> list[int]:
    """The half of the samples, or `VECTORS`, on which the two are nearest to each other, from the nearest on."""

    def distance(at: int) -> tuple[float, float]:
        return max(agreed[at]), _outputs_apart(known, [at])

    return sorted(agreed, key=distance)[: max(VECTORS, len(agreed) // 2)]


def _tolerance(
    apart: Sequence[tuple[float, float] | None], known: Known, samples: Sequence[int], least: Tolerance
) -> Tolerance:
    """`HEADROOM` times what the shipped file shows on these samples, from `least` on."""
    answers = [found for at in samples if (found := apart[at]) is not None]
    seen = {
        "output": _outputs_apart(known, list(samples)),
        "probability": max(probability for probability, _ in answers),
        "box": max(box for _, box in answers),
    }
    wider = {name: min(MOST, max(getattr(least, name), round(HEADROOM * value, 4))) for name, value in seen.items()}
    return least.model_copy(update=wider)


def _is_decided(contract: Contract, expected: Outputs, at: int, wanted: Vector, tolerance: Tolerance) -> bool:
    """Whether the margin of an answer is more than twice the tolerance."""
    margin = 2 * tolerance.probability
    if contract.answer == "classes":
        return wanted.probabilities[0] - wanted.probabilities[1] > margin
    if contract.answer == "boxes":
        logits, boxes = expected[0][at], expected[1][at]
        doubts = ((-margin, 0.0), (margin, 0.0), (0.0, -NMS_DOUBT), (0.0, NMS_DOUBT))
        counts = {len(objects_in(contract, logits, boxes, surer=surer, apart=apart).classes) for surer, apart in doubts}
        return counts == {len(wanted.boxes)}
    return True


def _caught_by(contract: Contract, known: Known, at: int, wanted: Vector, tolerance: Tolerance) -> frozenset[str]:
    """The spoiled ways of feeding, and of naming, that this sample shows up."""
    found = {
        name
        for name, outputs in known.spoiled.items()
        if _departs(contract, [one[at : at + 1] for one in outputs], known, at, wanted, tolerance)
    }
    counted = wanted.indices[:1] if contract.answer == "classes" else wanted.indices
    if any(contract.labels[::-1][index] != contract.labels[index] for index in counted if index < len(contract.labels)):
        found.add(LABELS)
    return frozenset(found)


def _departs(contract: Contract, outputs: Outputs, known: Known, at: int, wanted: Vector, tolerance: Tolerance) -> bool:
    if contract.answer == "outputs":
        return not relative_difference(known.expected[0][at], outputs[0][0]) <= tolerance.output
    size = known.sizes[at]
    found = differences(wanted, answers_of(contract, outputs, [size])[0], max(size))
    if found is None:
        return True
    return not (found[0] <= tolerance.probability and found[1] <= tolerance.box)  # a NaN departs too


def _pick(
    pool: Sequence[int],
    wanted: Sequence[Vector],
    catches: Mapping[int, frozenset[str]],
    sizes: Sequence[tuple[int, int]],
) -> tuple[int, ...]:
    """One after the other the sample that adds most: spoils caught, then classes, then another size of image."""
    chosen: list[int] = []
    left = list(pool)
    while left and len(chosen) < VECTORS:
        caught = set().union(*(catches[at] for at in chosen))
        classes = {index for at in chosen for index in _classes(wanted[at])}
        seen = {sizes[at] for at in chosen}
        worth = {
            at: (
                len(catches[at] - caught),
                len(_classes(wanted[at]) - classes),
                sizes[at] not in seen,
                len(catches[at]),
            )
            for at in left
        }
        best = max(left, key=worth.__getitem__)  # of equals the nearest, which comes first
        chosen.append(best)
        left.remove(best)
    return tuple(sorted(chosen))


def _classes(wanted: Vector) -> frozenset[int]:
    return frozenset(wanted.indices if wanted.boxes else wanted.indices[:1])
