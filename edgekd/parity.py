"""How far two implementations of one model are apart, in numbers, and the line beyond which they are not the same.

A correct export differs from its module by rounding only, because the sums run in another order: below 1e-5 and above
100 dB on ordinary CNNs. A wrong graph (a lost normalisation, a swapped axis) is off in the first digits. The tolerance
lies between, far from both.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.errors import BadInput
from edgekd.results import Parity

Array = npt.NDArray[Any]

MAX_ABS_TOLERANCE = 1e-3
"""Largest difference, relative to the largest reference value and absolute where that is below 1."""
MIN_SQNR_DB = 60.0
"""Least signal to noise; 60 dB is noise of one thousandth of the signal's amplitude."""
SAME = 1e-6
"""Below this difference outputs are the same whatever their ratio, which says nothing where the signal is near zero."""
SQNR_CAP_DB = 200.0


def sqnr_db(reference: Array, actual: Array) -> float:
    """Signal to (quantization) noise ratio in decibels, 10 log10(sum r^2 / sum (r - a)^2), within -200 to 200.

    Both arrays have one shape. Equal arrays give 200; anything that is not finite gives -200.
    """
    signal, noise = reference.astype(np.float64), (reference.astype(np.float64) - actual.astype(np.float64))
    signal_power, noise_power = float(np.sum(signal * signal)), float(np.sum(noise * noise))
    return power_ratio_db(signal_power, noise_power)


def worst_sqnr_db(reference: Sequence[Array], actual: Sequence[Array]) -> float:
    """Signal to quantization noise, in decibels, of the worst output.

    Not of all joined: large numbers such as pixels would drown the noise of small ones.
    """
    return min(sqnr_db(exact, said) for exact, said in zip(reference, actual, strict=True))


def power_ratio_db(signal: float, noise: float) -> float:
    """Ratio of two powers in decibels, within -200 to 200; 200 without noise, -200 where one is not finite."""
    if not (math.isfinite(signal) and math.isfinite(noise)):
        return -SQNR_CAP_DB
    if noise == 0.0:
        return SQNR_CAP_DB
    if signal == 0.0:
        return -SQNR_CAP_DB
    ratio = 10.0 * (math.log10(signal) - math.log10(noise))
    return max(-SQNR_CAP_DB, min(SQNR_CAP_DB, ratio))


def cosine(reference: Array, actual: Array) -> float:
    """Cosine of the angle between two arrays of one shape, flattened; two zero arrays are alike, 1."""
    left, right = reference.astype(np.float64).ravel(), actual.astype(np.float64).ravel()
    lengths = float(np.linalg.norm(left) * np.linalg.norm(right))
    if lengths == 0.0:
        return 1.0 if np.array_equal(left, right) else 0.0
    return float(np.clip(left @ right / lengths, -1.0, 1.0))


def compare_outputs(reference: Array, actual: Array, name: str) -> Parity:
    """Compare one output over a batch of inputs; both arrays (inputs, ...) of one shape, finite, any real dtype."""
    difference = np.abs(reference.astype(np.float64) - actual.astype(np.float64))
    return Parity(
        output=name,
        max_abs=float(difference.max(initial=0.0)),
        cosine=cosine(reference, actual),
        sqnr_db=sqnr_db(reference, actual),
    )


def check_parity(reference: Array, actual: Array, *, name: str, where: str) -> Parity:
    """Compare one output and refuse it where it is not the same computation.

    Args:
        reference: what the module computes, (inputs, ...).
        actual: what the exported file computes for the same inputs, same shape.
        name: the output.
        where: the file, for the message.

    Raises:
        BadInput: shapes differ; a value is not finite; or the largest difference exceeds
            `MAX_ABS_TOLERANCE` * max(1, largest reference value), or the signal to noise is below `MIN_SQNR_DB`.
    """
    if reference.shape != actual.shape:
        raise BadInput(
            f"{where}: output {name!r} has shape {actual.shape} where the model gives {reference.shape}; the exported "
            "graph is not the same model, so it is not used."
        )
    for array, who in ((reference, "the model"), (actual, "the exported graph")):
        if not np.isfinite(array).all():
            raise BadInput(
                f"{where}: output {name!r} of {who} is not finite (NaN or infinite) for ordinary inputs; the weights "
                "are damaged, or the inputs are not scaled as in training."
            )
    found = compare_outputs(reference, actual, name)
    allowed = MAX_ABS_TOLERANCE * max(1.0, float(np.abs(reference).max(initial=0.0)))
    if found.max_abs > SAME and (found.max_abs > allowed or found.sqnr_db < MIN_SQNR_DB):
        raise BadInput(
            f"{where}: output {name!r} differs from the model by up to {found.max_abs:.2g} (allowed {allowed:.2g}) at "
            f"{found.sqnr_db:.1f} dB (needed {MIN_SQNR_DB:.0f} dB); the exported graph computes something else, so it "
            "is not used."
        )
    return found


def check_every_output(
    reference: Sequence[Array], actual: Sequence[Array], *, names: Sequence[str], where: str
) -> tuple[Parity, ...]:
    """`check_parity` of each output in turn; one array (inputs, ...) per output on both sides.

    Raises:
        BadInput: as `check_parity`, or where the exported file has more or fewer outputs.
    """
    if len(reference) != len(actual):
        raise BadInput(
            f"{where}: {len(actual)} outputs where the model has {len(reference)}; the exported graph is not the same "
            "model, so it is not used."
        )
    return tuple(
        check_parity(one, other, name=name, where=where)
        for one, other, name in zip(reference, actual, names, strict=True)
    )
