"""The schemes by name, and the twin that stands in for a file whose kernels this machine does not have."""

import platform

from edgekd.device import Numerics
from edgekd.schemes.fp32 import fp32
from edgekd.schemes.half import bf16, fp16
from edgekd.schemes.int8_dynamic import int8_dynamic
from edgekd.schemes.int8_nncf import int8_nncf
from edgekd.schemes.int8_static import int8_static
from edgekd.schemes.int8_weights import int8_weights
from edgekd.schemes.scheme import Scheme


def twin_numerics(numerics: Numerics, machine: str | None = None) -> Numerics | None:
    """Return the numerics to time on this machine in place of `numerics`, or None where those can be timed as they are.

    x86 has integer kernels for uint8 activations only: int8 ones fuse in part or not at all there, so their time says
    nothing about ARM. `machine` is as `platform.machine()` names it, by default this one.
    """
    x86 = (machine or platform.machine()).lower() in {"x86_64", "amd64", "i386", "i686"}
    return numerics.model_copy(update={"activations": "uint8"}) if x86 and numerics.activations == "int8" else None


SCHEMES: dict[str, Scheme] = {
    "fp32": fp32,
    "fp16": fp16,
    "bf16": bf16,
    "int8_dynamic": int8_dynamic,
    "int8_static": int8_static,
    "int8_weights": int8_weights,
    "int8_nncf": int8_nncf,
}
