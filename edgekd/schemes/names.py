"""What the name of a scheme says. `docs/schemes.md` lists them for users.

    BASE[_tensor|_channel][_s8s8|_u8s8][_reduced][_entropy|_percentile]

`int8_static` alone leaves all four to the device; `int8_static_tensor_u8s8_percentile` is one scale per tensor,
unsigned activations with signed weights, and ranges cut at a percentile.
"""

from typing import Any, NamedTuple

from edgekd.device import Numerics
from edgekd.schemes.calibration import Method

_SETTINGS: tuple[dict[str, dict[str, Any]], ...] = (
    {"tensor": {"per_channel": False}, "channel": {"per_channel": True}},
    {"s8s8": {"activations": "int8"}, "u8s8": {"activations": "uint8"}},
    {"reduced": {"reduce_range": True}},
    {"entropy": {"method": "entropy"}, "percentile": {"method": "percentile"}},
)
"""The words that may follow a base, in this order, one of each group."""


class Variant(NamedTuple):
    """A scheme's base, and what its name overrides of the device's numerics and of the method of calibration."""

    base: str
    numerics: dict[str, Any]
    method: Method

    def numerics_of(self, device: Numerics) -> Numerics:
        """Return the device's numerics with what the name overrides."""
        return device.model_copy(update=self.numerics)


def parse_scheme(name: str, bases: dict[str, Any]) -> Variant | None:
    """Return what a name says, or None where no base of `bases` begins it or its words are not in order.

    Only bases of int8 with calibrated activations take settings.
    """
    base = max((one for one in bases if name == one or name.startswith(f"{one}_")), key=len, default=None)
    if base is None:
        return None
    words = name.removeprefix(base).split("_")[1:]
    if words and base not in CALIBRATED:
        return None
    settings: dict[str, Any] = {}
    for group in _SETTINGS:
        if words and words[0] in group:
            settings |= group[words.pop(0)]
    if words:
        return None
    method: Method = settings.pop("method", "minmax")
    return Variant(base, settings, method)


CALIBRATED = ("int8_static", "int8_products", "int8_fused", "int8_corrected", "int8_mixed", "int8_searched", "int8_qad")
"""Bases whose activations are quantized by calibrated ranges."""
