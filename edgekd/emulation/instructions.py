"""Classes of AArch64 instructions, told by their encoding: the one table behind the counting plugin and the patched
library.

Encodings are those of the Arm Architecture Reference Manual for A-profile (DDI 0487), section C4.1.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Pattern(NamedTuple):
    """Words `w` with `w & mask == value` belong to `kind`; the first pattern of the table that fits decides."""

    mask: int
    value: int
    kind: str


KINDS = ("total", "multiply_float", "dot_product", "multiply_long", "load", "store", "branch")
"""What the plugin counts, in its order; "total" is every instruction, and instructions of no kind count there alone."""

HINTS = {"multiply_float": 120, "dot_product": 121, "multiply_long": 122}
"""Unallocated hints, which a processor skips, that stand for vector instructions of a kind in the patched library."""

VECTOR_MULTIPLY = (
    Pattern(0xBF20FC00, 0x0E20CC00, "multiply_float"),  # FMLA, FMLS by vector, float32 and float64
    Pattern(0xBF60FC00, 0x0E400C00, "multiply_float"),  # FMLA, FMLS by vector, float16
    Pattern(0xBF80B400, 0x0F801000, "multiply_float"),  # FMLA, FMLS by element, float32 and float64
    Pattern(0xBFC0B400, 0x0F001000, "multiply_float"),  # FMLA, FMLS by element, float16
    Pattern(0xFFE0FC00, 0x6E40EC00, "multiply_float"),  # BFMMLA
    Pattern(0xBFE0FC00, 0x2E40FC00, "multiply_float"),  # BFDOT by vector
    Pattern(0xBFE0FC00, 0x2EC0FC00, "multiply_float"),  # BFMLALB, BFMLALT by vector
    Pattern(0x9FE0FC00, 0x0E809400, "dot_product"),  # SDOT, UDOT by vector
    Pattern(0x9FC0F400, 0x0F80E000, "dot_product"),  # SDOT, UDOT by element
    Pattern(0xBFE0FC00, 0x0E809C00, "dot_product"),  # USDOT by vector
    Pattern(0xBF40F400, 0x0F00F000, "dot_product"),  # SUDOT, USDOT by element
    Pattern(0xDFE0FC00, 0x4E80A400, "dot_product"),  # SMMLA, UMMLA
    Pattern(0xFFE0FC00, 0x4E80AC00, "dot_product"),  # USMMLA
    Pattern(0x9F20DC00, 0x0E208000, "multiply_long"),  # SMLAL, UMLAL, SMLSL, UMLSL by vector
    Pattern(0x9F20FC00, 0x0E20C000, "multiply_long"),  # SMULL, UMULL by vector
    Pattern(0x9F00B400, 0x0F002000, "multiply_long"),  # SMLAL, UMLAL, SMLSL, UMLSL by element
    Pattern(0x9F00F400, 0x0F00A000, "multiply_long"),  # SMULL, UMULL by element
)

PATTERNS = (
    *(Pattern(0xFFFFFFFF, 0xD503201F | number << 5, kind) for kind, number in HINTS.items()),
    *VECTOR_MULTIPLY,
    Pattern(0xFF000000, 0x1F000000, "multiply_float"),  # FMADD, FMSUB, FNMADD, FNMSUB, one element
    Pattern(0xFFC00000, 0xF9800000, "total"),  # PRFM, a hint: immediate,
    Pattern(0xFFE00C00, 0xF8A00800, "total"),  # register,
    Pattern(0xFFE00C00, 0xF8800000, "total"),  # unscaled
    Pattern(0xFF000000, 0xD8000000, "total"),  # and literal
    Pattern(0x3B000000, 0x18000000, "load"),  # LDR literal
    Pattern(0x3F200C00, 0x38200000, "load"),  # LDADD, SWP and other atomics, which also store
    Pattern(0x3EC00000, 0x38800000, "load"),  # LDRSW, LDRSH, LDRSB
    Pattern(0x0A400000, 0x08400000, "load"),  # all others, by their bit L
    Pattern(0x0A400000, 0x08000000, "store"),
    Pattern(0x7C000000, 0x14000000, "branch"),  # B, BL
    Pattern(0xFF000000, 0x54000000, "branch"),  # B.cond
    Pattern(0x7C000000, 0x34000000, "branch"),  # CBZ, CBNZ, TBZ, TBNZ
    Pattern(0xFE000000, 0xD6000000, "branch"),  # BR, BLR, RET
)


def kind_of(word: int) -> str:
    """Return the kind of one instruction, "total" where it is of none."""
    return next((p.kind for p in PATTERNS if word & p.mask == p.value), "total")


def patterns_in_c() -> str:
    """Return PATTERNS as the initialiser of the plugin's table."""
    return ",".join(f"{{0x{p.mask:08x}u,0x{p.value:08x}u,{KINDS.index(p.kind)}}}" for p in PATTERNS)


def with_hints(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Return instructions (n,) with each vector multiply-accumulate replaced by the hint that stands for its kind."""
    patched = words.copy()
    for pattern in VECTOR_MULTIPLY:
        patched[(words & np.uint32(pattern.mask)) == pattern.value] = 0xD503201F | HINTS[pattern.kind] << 5
    return patched
