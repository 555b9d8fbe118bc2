"""Which scheme may compete in which runtime on which device, and in what precision the runtime then computes floats.

The one place that knows what is computed natively where. Sources: the documentation of OpenVINO's CPU device (bfloat16
on x86 with AVX512_BF16 or AMX, float16 on Armv8.2 and on AMX-FP16, int8 on Arm simulated in float), and what was
measured with OpenVINO 2026.4 and ONNX Runtime 1.31 on x86 with VNNI and AVX512_BF16.
"""

from collections.abc import Collection, Mapping
from typing import Any

from edgekd.device import HOST, DeviceProfile, load_profile
from edgekd.numerics import is_arm

PRECISION = "INFERENCE_PRECISION_HINT"
"""OpenVINO's property; where it is not set, floats are computed in f32."""
NATIVE: dict[str, frozenset[str]] = {
    "bf16": frozenset({"avx512_bf16", "amx_bf16"}),
    "f16": frozenset({"fphp", "amx_fp16"}),
}
"""Precision, as OpenVINO calls it, to the instruction sets that bring it."""
_OF_SCHEME = {"bf16": "bf16", "fp16": "f16"}
_FLOATS_NATIVELY = {"int8_nncf", "int8_weights"}
"""int8 schemes whose floats OpenVINO computes in the device's own short precision: 0 to 9 % faster for 0.5 dB."""
_IN_ONNXRUNTIME = {
    "bf16": "ONNX Runtime's CPU build widens bf16 to fp32: half the file, but no faster",
    "fp16": "ONNX Runtime's CPU build widens fp16 to fp32: half the file, but no faster",
    "int8_nncf": "its Q/DQ pairs stand where OpenVINO fuses them; ONNX Runtime takes up to twice as long as for fp32",
}


def offered(scheme: str, runtime: str, profile: DeviceProfile) -> str | None:
    """Return None where a scheme may compete in a runtime on a device, else the reason why not."""
    if runtime == "onnxruntime":
        return _IN_ONNXRUNTIME.get(scheme)
    if scheme == "int8_dynamic":
        return "OpenVINO has no kernels for ONNX Runtime's dynamic int8 operators"
    if scheme in _OF_SCHEME and _OF_SCHEME[scheme] not in native(profile.isa):
        return f"the CPU of {profile.name} does not compute in {scheme}"
    if scheme.startswith("int8") and scheme != "int8_weights" and is_arm(profile.isa):
        return "OpenVINO computes int8 in float on Arm"
    return None


def runs_in(scheme: str, profile: DeviceProfile) -> tuple[str, ...]:
    """Return the device's runtimes in which a scheme may compete."""
    return tuple(runtime for runtime in profile.runtimes if offered(scheme, runtime, profile) is None)


def session_options(scheme: str, runtime: str, profile: DeviceProfile) -> dict[str, Any]:
    """Return the session options with which a runtime runs a scheme on a device, beside threads."""
    if runtime != "openvino":
        return {}
    if scheme in _OF_SCHEME:
        return {PRECISION: _OF_SCHEME[scheme]}
    short = native(profile.isa) if scheme in _FLOATS_NATIVELY else ()
    return {PRECISION: short[0]} if short else {}


def on_this_machine(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return session options as this machine can honour them: a precision that it lacks becomes f32.

    OpenVINO would take another short one without a word: bf16 where f16 is asked for.
    """
    if options.get(PRECISION, "f32") in ("f32", *native(load_profile(HOST).isa)):
        return dict(options)
    return {**options, PRECISION: "f32"}


def native(isa: Collection[str]) -> tuple[str, ...]:
    """Short float precisions, as OpenVINO calls them, that a CPU with these instruction sets computes in."""
    return tuple(name for name, flags in NATIVE.items() if not flags.isdisjoint(isa))
