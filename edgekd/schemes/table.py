"""The schemes by name, and the twin that stands in for a file whose kernels this machine does not have."""

from edgekd.device import Numerics
from edgekd.schemes.fp32 import fp32
from edgekd.schemes.int8_dynamic import int8_dynamic
from edgekd.schemes.int8_static import int8_static
from edgekd.schemes.scheme import Scheme
from edgekd.this_machine import is_x86


def twin_numerics(numerics: Numerics, machine: str | None = None) -> Numerics | None:
    """Return the numerics to time on this machine in place of `numerics`, or None where those can be timed as they are.

    x86 has integer kernels for uint8 activations only: int8 ones fuse in part or not at all there, so their time says
    nothing about ARM. `machine` is as `platform.machine()` names it, by default this one.
    """
    signed = numerics.activations == "int8"
    return numerics.model_copy(update={"activations": "uint8"}) if is_x86(machine) and signed else None


SCHEMES: dict[str, Scheme] = {
    "fp32": fp32,
    "int8_dynamic": int8_dynamic,
    "int8_static": int8_static,
}
