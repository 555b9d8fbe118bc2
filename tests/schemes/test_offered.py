"""What may compete where follows from the device's instruction set; what this machine lacks is run in f32, and said."""

import pytest

from edgekd.device import DeviceProfile, load_profile
from edgekd.schemes import offered as offered_module
from edgekd.schemes.offered import PRECISION, native, offered, on_this_machine, runs_in, session_options
from edgekd.schemes.table import SCHEMES


def x86(*flags: str) -> DeviceProfile:
    return load_profile("intel-n100").model_copy(update={"isa": ("avx2", "fma", *flags)})


ZEN4 = x86("avx512_vnni", "avx512_bf16")
PI5 = load_profile("raspberry-pi-5")
PI4 = load_profile("raspberry-pi-4")


def test_a_short_float_precision_competes_where_the_cpu_computes_in_it() -> None:
    assert offered("bf16", "openvino", ZEN4) is None
    assert offered("fp16", "openvino", PI5) is None
    assert offered("bf16", "openvino", PI5) == "the CPU of raspberry-pi-5 does not compute in bf16"
    assert offered("fp16", "openvino", ZEN4) == "the CPU of intel-n100 does not compute in fp16"
    assert offered("bf16", "openvino", x86()) is not None
    assert native(("amx_bf16", "amx_fp16")) == ("bf16", "f16")


def test_onnxruntime_has_no_short_float_precision() -> None:
    assert all("no faster" in str(offered(scheme, "onnxruntime", ZEN4)) for scheme in ("bf16", "fp16"))


@pytest.mark.parametrize("profile", [ZEN4, PI5, PI4])
def test_the_baseline_and_the_plain_schemes_compete_in_onnxruntime_everywhere(profile: DeviceProfile) -> None:
    plain = {"fp32", "int8_dynamic", "int8_static", "int8_weights"}
    assert {scheme for scheme in SCHEMES if offered(scheme, "onnxruntime", profile) is None} >= plain


def test_openvino_computes_no_int8_on_arm() -> None:
    assert {scheme for scheme in SCHEMES if offered(scheme, "openvino", PI5) is None} == {
        "fp32",
        "fp16",
        "int8_weights",
    }
    assert offered("int8_static_tensor", "openvino", PI5) == "OpenVINO computes int8 in float on Arm"


def test_a_scheme_runs_in_the_runtimes_that_the_device_has() -> None:
    assert runs_in("bf16", ZEN4) == ("openvino",)
    assert runs_in("int8_weights", ZEN4) == ("onnxruntime", "openvino")
    assert runs_in("fp16", PI4) == ()  # its profile has no OpenVINO


def test_the_session_asks_for_the_precision_that_the_scheme_is_about() -> None:
    assert session_options("bf16", "openvino", ZEN4) == {PRECISION: "bf16"}
    assert session_options("fp16", "openvino", PI5) == {PRECISION: "f16"}
    assert session_options("fp32", "openvino", ZEN4) == session_options("int8_static", "openvino", ZEN4) == {}
    assert session_options("int8_nncf", "openvino", ZEN4) == {PRECISION: "bf16"}
    assert session_options("int8_nncf", "openvino", x86()) == {}
    assert session_options("int8_weights", "onnxruntime", ZEN4) == {}


def test_a_precision_that_this_machine_lacks_becomes_f32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offered_module, "load_profile", lambda _: ZEN4)
    assert on_this_machine({PRECISION: "f16", "threads": 2}) == {PRECISION: "f32", "threads": 2}
    assert on_this_machine({PRECISION: "bf16"}) == {PRECISION: "bf16"}
    assert on_this_machine({}) == {}
