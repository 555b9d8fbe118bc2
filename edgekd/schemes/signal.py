"""The floor of signal to noise below which an int8 file is broken rather than inaccurate."""

import math

SQNR_FLOOR_DB = 10.0
"""Noise of a third of the signal's amplitude. Sound int8 files of ours lie at 20 to 40 dB; files calibrated on
all-zero, infinite or unscaled (0 to 255 for 0 to 1) data at 0 to 5 dB. The floor lies between."""


def check_signal(sqnr_db: float) -> str | None:
    """Say why a candidate of this signal to quantization noise on the logits, in decibels, is rejected, or None."""
    if math.isnan(sqnr_db) or sqnr_db < SQNR_FLOOR_DB:
        return (
            f"signal to quantization noise is {sqnr_db:.1f} dB, below the floor of {SQNR_FLOOR_DB:.0f} dB: "
            "its outputs are mostly noise"
        )
    return None
