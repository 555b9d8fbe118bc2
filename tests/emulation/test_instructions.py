"""Instructions told apart by their encoding; the words are what an assembler makes of the text beside them."""

import struct

import numpy as np
import pytest

from edgekd.emulation.instructions import HINTS, VECTOR_MULTIPLY, kind_of, with_hints
from edgekd.emulation.runtime_library import patched
from edgekd.errors import BadInput

ASSEMBLED = (
    ("fmla v0.4s, v1.4s, v2.4s", 0x4E22CC20, "multiply_float"),
    ("fmls v0.4s, v1.4s, v2.4s", 0x4EA2CC20, "multiply_float"),
    ("fmla v16.4s, v4.4s, v0.s[0]", 0x4F801090, "multiply_float"),
    ("fmla v0.8h, v1.8h, v2.8h", 0x4E420C20, "multiply_float"),
    ("fmls v0.8h, v1.8h, v2.h[1]", 0x4F125020, "multiply_float"),
    ("bfmmla v0.4s, v1.8h, v2.8h", 0x6E42EC20, "multiply_float"),
    ("bfdot v0.4s, v1.8h, v2.8h", 0x6E42FC20, "multiply_float"),
    ("bfmlalb v0.4s, v1.8h, v2.8h", 0x2EC2FC20, "multiply_float"),
    ("fmadd s0, s1, s2, s3", 0x1F020C20, "multiply_float"),
    ("sdot v0.4s, v1.16b, v2.16b", 0x4E829420, "dot_product"),
    ("udot v0.4s, v1.16b, v2.4b[0]", 0x6F82E020, "dot_product"),
    ("usdot v0.4s, v1.16b, v2.16b", 0x4E829C20, "dot_product"),
    ("sudot v0.4s, v1.16b, v2.4b[3]", 0x4F22F820, "dot_product"),
    ("smmla v0.4s, v1.16b, v2.16b", 0x4E82A420, "dot_product"),
    ("ummla v0.4s, v1.16b, v2.16b", 0x6E82A420, "dot_product"),
    ("usmmla v0.4s, v1.16b, v2.16b", 0x4E82AC20, "dot_product"),
    ("smlal v0.4s, v1.4h, v2.4h", 0x0E628020, "multiply_long"),
    ("umlal2 v0.8h, v1.16b, v2.16b", 0x6E228020, "multiply_long"),
    ("smlsl v0.4s, v1.4h, v2.h[3]", 0x0F726020, "multiply_long"),
    ("smull v0.8h, v1.8b, v2.8b", 0x0E22C020, "multiply_long"),
    ("umull2 v0.4s, v1.8h, v2.h[0]", 0x6F42A020, "multiply_long"),
    ("ldr q0, [x1]", 0x3DC00020, "load"),
    ("ldrsw x0, [x1]", 0xB9800020, "load"),
    ("ldrsb w0, [x1, x2]", 0x38E26820, "load"),
    ("ldp q0, q1, [x0]", 0xAD400400, "load"),
    ("ld1 {v0.4s}, [x0]", 0x4C407800, "load"),
    ("ld1r {v0.4s}, [x0]", 0x4D40C800, "load"),
    ("ldr x0, .+8", 0x58000040, "load"),
    ("ldadd w0, w1, [x2]", 0xB8200041, "load"),
    ("ldxr w0, [x1]", 0x885F7C20, "load"),
    ("ldur x0, [x1, #-8]", 0xF85F8020, "load"),
    ("str q0, [x1]", 0x3D800020, "store"),
    ("strb w0, [x1]", 0x39000020, "store"),
    ("stp x29, x30, [sp, #-16]!", 0xA9BF7BFD, "store"),
    ("st1 {v0.4s}, [x0]", 0x4C007800, "store"),
    ("stlxr w2, w0, [x1]", 0x8802FC20, "store"),
    ("b .", 0x14000000, "branch"),
    ("bl .", 0x94000000, "branch"),
    ("b.ne .", 0x54000001, "branch"),
    ("cbz x0, .", 0xB4000000, "branch"),
    ("tbnz w0, #0, .", 0x37000000, "branch"),
    ("ret", 0xD65F03C0, "branch"),
    ("blr x8", 0xD63F0100, "branch"),
    ("prfm pldl1keep, [x0]", 0xF9800000, "total"),
    ("prfm pldl1keep, [x0, x1]", 0xF8A16800, "total"),
    ("prfum pldl1keep, [x0, #-8]", 0xF89F8000, "total"),
    ("nop", 0xD503201F, "total"),
    ("svc #0", 0xD4000001, "total"),
    ("mrs x0, tpidr_el0", 0xD53BD040, "total"),
    ("dmb ish", 0xD5033BBF, "total"),
    ("add x0, x0, #1", 0x91000400, "total"),
    ("fmul v0.4s, v1.4s, v2.4s", 0x6E22DC20, "total"),
    ("fadd v0.4s, v1.4s, v2.4s", 0x4E22D420, "total"),
    ("mul v0.4s, v1.4s, v2.4s", 0x4EA29C20, "total"),
    ("mla v0.4s, v1.4s, v2.4s", 0x4EA29420, "total"),
    ("sqrdmlah v0.4s, v1.4s, v2.4s", 0x6E828420, "total"),
    ("sadalp v0.4s, v1.8h", 0x4E606820, "total"),
    ("pmull v0.1q, v1.1d, v2.1d", 0x0EE2E020, "total"),
    ("fmaxnm v0.4s, v1.4s, v2.4s", 0x4E22C420, "total"),
)
SCALAR = ("fmadd s0, s1, s2, s3",)


@pytest.mark.parametrize(("text", "word", "kind"), ASSEMBLED, ids=[text for text, _, _ in ASSEMBLED])
def test_every_word_belongs_to_one_kind(text: str, word: int, kind: str) -> None:
    assert kind_of(word) == kind


def test_hints_stand_for_vector_multiplications_alone_and_count_as_them() -> None:
    words = np.array([word for _, word, _ in ASSEMBLED], np.uint32)
    replaced = with_hints(words)
    for (text, word, kind), new in zip(ASSEMBLED, replaced.tolist(), strict=True):
        assert kind_of(new) == kind
        if kind in HINTS and text not in SCALAR:
            assert new & 0xFFFFF01F == 0xD503201F and new != 0xD503201F, text  # the space of hints; none is NOP itself
        else:
            assert new == word, text


def test_no_word_fits_two_patterns_of_different_kinds() -> None:
    words = np.random.default_rng(0).integers(0, 2**32, 200_000, np.uint32)
    for one in VECTOR_MULTIPLY:
        drawn = words & np.uint32(~one.mask & 0xFFFFFFFF) | np.uint32(one.value)
        for other in VECTOR_MULTIPLY:
            if other.kind != one.kind:
                assert not np.any(drawn & np.uint32(other.mask) == other.value), (one, other)


def elf_of(text: bytes, constants: bytes) -> bytes:
    """A file with an executable section and one of constants: header, the two, and the table of sections."""
    at = 64
    header = b"\x7fELF\x02\x01" + bytes(12) + b"\xb7\x00" + bytes(20) + struct.pack("<Q", at + len(text + constants))
    header = header.ljust(58, b"\0") + struct.pack("<HH", 64, 2) + bytes(2)
    sections = b"".join(
        struct.pack("<IIQQQQ", 0, 1, flags, 0, offset, size).ljust(64, b"\0")
        for flags, offset, size in ((0x6, at, len(text)), (0x2, at + len(text), len(constants)))
    )
    return header + text + constants + sections


def test_only_executable_sections_are_patched() -> None:
    fmla = struct.pack("<I", 0x4E22CC20)
    whole = elf_of(fmla + b"\x1f\x20\x03\xd5", fmla)
    found = patched(whole, "library")
    assert kind_of(struct.unpack_from("<I", found, 64)[0]) == "multiply_float"
    assert found[64:68] != fmla and found[68:] == whole[68:] and found[:64] == whole[:64]


@pytest.mark.parametrize("other", [b"", b"not a library", elf_of(b"", b"").replace(b"\xb7\x00", b"\x3e\x00")])
def test_other_files_are_refused(other: bytes) -> None:
    with pytest.raises(BadInput, match="AArch64"):
        patched(other, "library")
