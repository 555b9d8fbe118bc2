"""From a device's facts to the numbers that its kernels want, every decision with its reason.

Pure: instruction set, cores and runtime in, decisions out. A profile may override how int8 is stored, with a source.
Sources of the rules: ONNX Runtime's documentation, Quantize ONNX Models, and the dispatch of its integer kernels
(pull requests 9902, 9655, 9772, 10862); per channel is our choice, for accuracy.
"""

from collections.abc import Collection
from typing import Literal

from edgekd.record import Record

ARM = ("armv", "aarch64", "asimd")
"""How the flags of an Arm core begin; whatever has none of them is taken for x86."""
VNNI = {"avx512_vnni", "avx_vnni"}
DEFAULT_SESSION = {
    "onnxruntime": "arena, memory pattern and prepacking on",
    "openvino": "tuned for latency, one stream, floats kept in f32",
}


class Numerics(Record):
    """How int8 is stored for the device's integer kernels."""

    activations: Literal["int8", "uint8"]
    per_channel: bool
    reduce_range: bool


class Decision(Record):
    """One thing that follows from a device's facts, and why."""

    what: str
    value: str
    reason: str


def is_arm(isa: Collection[str]) -> bool:
    """Whether these are the flags of an Arm core."""
    return any(flag.startswith(ARM) for flag in isa)


def numerics_for(isa: Collection[str]) -> Numerics:
    """Return how int8 is stored for an instruction set: 64-bit Arm takes signed activations; x86 unsigned ones, and
    7-bit weights where it has no VNNI, because the 16-bit sums of two products saturate."""
    if is_arm(isa):
        return Numerics(activations="int8", per_channel=True, reduce_range=False)
    return Numerics(activations="uint8", per_channel=True, reduce_range=not VNNI & set(isa))


def decide_integers(isa: Collection[str], stated: Numerics, source: str = "") -> tuple[Decision, ...]:
    """Return the sign of activations, weights per channel, their range, and what int8 products are made of.

    `stated` is what holds for the device; where it differs from `numerics_for`, the reason is its `source`.
    """
    arm, rule = is_arm(isa), numerics_for(isa)
    signs = {
        True: "Arm multiplies signed by signed; unsigned activations cost it an extra step",
        False: "x86 multiplies unsigned by signed; signed activations leave layers unfused",
    }
    ranges = {
        True: "without VNNI, sums of two products saturate at 16 bits",
        False: "no sum of products saturates" if arm else "VNNI adds up in 32 bits",
    }
    told = {
        "activations": (stated.activations, signs[arm]),
        "per_channel": ("per channel" if stated.per_channel else "per tensor", "a scale per channel loses less score"),
        "reduce_range": ("7 bits" if stated.reduce_range else "8 bits", ranges[rule.reduce_range]),
    }
    names = {"activations": "int8 activations", "per_channel": "int8 scales", "reduce_range": "int8 weights"}
    return (
        *(
            Decision(
                what=names[key],
                value=value,
                reason=reason if getattr(stated, key) == getattr(rule, key) else f"stated by the profile: {source}",
            )
            for key, (value, reason) in told.items()
        ),
        _products(isa),
    )


def decide_runtime(
    name: str, *, version: str, max_opset: int, max_ir: int, threads: int, cores: int, measured: bool
) -> tuple[Decision, ...]:
    """Return opset, IR version, thread count and session options of one runtime on a device.

    `cores` are the fast ones; where latency can be `measured`, that decides how many of them are used.
    """
    ceiling = f"{name} {version} loads no newer one"
    counted = "one for each fast core" if threads == cores else f"as the profile states, of {cores} fast cores"
    used = (str(threads), counted)
    if measured:
        used = (f"1 to {threads}", "more only where what ships is measured to be faster with them")
    return (
        Decision(what=f"{name} opset", value=f"at most {max_opset}", reason=ceiling),
        Decision(what=f"{name} IR version", value=f"at most {max_ir}", reason=ceiling),
        Decision(what=f"{name} threads", value=used[0], reason=used[1]),
        Decision(
            what=f"{name} session",
            value=DEFAULT_SESSION.get(name, "its defaults"),
            reason="until others, measured for what ships, take less memory and are not slower",
        ),
    )


def _products(isa: Collection[str]) -> Decision:
    flags = set(isa)
    name, reason = next((found for flag, found in _PRODUCTS.items() if flag in flags), _WITHOUT[is_arm(isa)])
    return Decision(what="int8 products", value=name, reason=reason)


_PRODUCTS = {
    "i8mm": ("int8 matrix products (SMMLA)", "i8mm: 32 products in one instruction, so int8 gains most"),
    "asimddp": ("dot product (SDOT)", "asimddp: 16 products in one instruction, so int8 gains"),
    "avx512_vnni": ("VNNI (VPDPBUSD)", "avx512_vnni: 64 products in one instruction, so int8 gains"),
    "avx_vnni": ("VNNI (VPDPBUSD)", "avx_vnni: 32 products in one instruction, so int8 gains"),
}
_WITHOUT = {
    True: ("widening (SMULL, SADALP)", "no dot product: sums are widened step by step, so int8 gains little"),
    False: ("widening (VPMADDUBSW)", "no VNNI: three instructions in the place of one, so int8 gains little"),
}
