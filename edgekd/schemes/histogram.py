"""Where a range is cut: thresholds found in a histogram of a tensor's magnitudes.

One that is cut gives finer steps to most values, at the price of the few beyond it. Exact zeros are not counted: every
8-bit grid holds zero, and after ReLU they would outvote all else.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

BINS = 2048
PERCENTILE = 0.9999
"""Share of magnitudes kept. Wu et al., Integer Quantization for Deep Learning Inference, arXiv 2004.09602, section 5:
99.99 or 99.999 % was best on most networks, 99.9 % cut too much."""
_STEP = 16
"""Bins between the thresholds that entropy tries."""


def empty_histogram() -> Counts:
    """Return BINS counts of zero."""
    return np.zeros(BINS, np.int64)


def add_magnitudes(counts: Counts, values: npt.NDArray[np.float32], largest: float) -> None:
    """Count the magnitudes of `values`, of any shape, into BINS equal bins from 0 to `largest`; zeros are left out."""
    magnitudes = np.abs(values[values != 0])
    if largest > 0 and magnitudes.size:
        bins = np.minimum((magnitudes * (BINS / largest)).astype(np.int64), BINS - 1)
        counts += np.bincount(bins, minlength=BINS)


def percentile_threshold(counts: Counts, one_sided: bool) -> float:
    """Share of the largest magnitude below which `PERCENTILE` of all magnitudes lie, in (0, 1]."""
    total = int(counts.sum())
    if total == 0:
        return 1.0
    return (int(np.searchsorted(np.cumsum(counts), PERCENTILE * total)) + 1) / BINS


def entropy_threshold(counts: Counts, one_sided: bool) -> float:
    """Share of the largest magnitude at which 8 bits lose least: the cut distribution and its quantized form have the
    least relative entropy. In (0, 1]. Migacz, 8-bit Inference with TensorRT, GTC 2017.

    A tensor that is nowhere negative, or nowhere positive, has 256 levels for its magnitudes, any other 128.
    """
    levels = 256 if one_sided else 128
    if counts.sum() == 0:
        return 1.0
    tried = range(levels, BINS + 1, _STEP)
    losses = [_relative_entropy(counts, upto, levels) for upto in tried]
    return tried[int(np.argmin(losses))] / BINS


def _relative_entropy(counts: Counts, upto: int, levels: int) -> float:
    """Relative entropy of the counts cut after `upto` bins, what lies beyond in the last, to their quantized form."""
    kept = counts[:upto].astype(np.float64)
    cut = kept.copy()
    cut[-1] += counts[upto:].sum()
    starts = np.linspace(0, upto, levels, endpoint=False).astype(np.int64)
    filled = (kept > 0).astype(np.float64)
    level = np.add.reduceat(kept, starts) / np.maximum(np.add.reduceat(filled, starts), 1)
    quantized = np.repeat(level, np.diff([*starts, upto])) * filled
    if quantized.sum() == 0:
        return np.inf
    # A bin that only the cut put values into has no quantized form; the smallest share there is makes it cost much.
    p, q = cut / cut.sum(), np.maximum(quantized / quantized.sum(), np.finfo(np.float64).eps)
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0])))


THRESHOLDS: dict[str, Callable[[Counts, bool], float]] = {
    "entropy": entropy_threshold,
    "percentile": percentile_threshold,
}
