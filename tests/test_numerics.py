"""From instruction set and runtime to how int8 is stored, with the reason of each decision."""

import pytest

from edgekd.device import DeviceProfile, list_profiles, load_profile
from edgekd.numerics import Numerics, decide_integers, numerics_for

ARM = Numerics(activations="int8", per_channel=True, reduce_range=False)
VNNI = Numerics(activations="uint8", per_channel=True, reduce_range=False)


@pytest.mark.parametrize(
    ("isa", "activations", "reduce_range"),
    [
        ({"x86_64", "avx2", "avx_vnni"}, "uint8", False),
        ({"x86-64-v4", "avx512f", "avx512_vnni"}, "uint8", False),
        ({"avx2", "avx512f"}, "uint8", True),
        ({"x86_64"}, "uint8", True),
        ({"armv8.0", "asimd"}, "int8", False),
        ({"aarch64"}, "int8", False),
    ],
)
def test_numerics_follow_the_instruction_set(isa, activations, reduce_range):
    found = numerics_for(isa)
    assert (found.activations, found.per_channel, found.reduce_range) == (activations, True, reduce_range)


@pytest.mark.parametrize("profile", list_profiles(), ids=lambda profile: profile.name)
def test_boards_state_no_numerics_and_get_those_of_their_kernels(profile):
    assert "numerics" not in profile.model_fields_set and "numerics" not in profile.sources
    assert profile.numerics == (VNNI if profile.name == "intel-n100" else ARM)


def test_what_a_profile_states_holds_and_needs_a_source():
    facts = load_profile("raspberry-pi-5").model_dump(exclude={"numerics"})
    stated = {"activations": "uint8", "per_channel": True, "reduce_range": False}
    with pytest.raises(ValueError, match="no source is given for numerics"):
        DeviceProfile.model_validate({**facts, "numerics": stated})
    sources = {**facts["sources"], "numerics": "timed on the board"}
    profile = DeviceProfile.model_validate({**facts, "numerics": stated, "sources": sources})
    assert profile.numerics.activations == "uint8"
    reasons = {one.what: one.reason for one in profile.decisions()}
    assert reasons["int8 activations"] == "stated by the profile: timed on the board"
    assert "stated" not in reasons["int8 scales"]


def test_a_dumped_profile_is_read_again_as_the_same():
    profile = load_profile("raspberry-pi-4")
    assert DeviceProfile.model_validate(profile.model_dump()) == profile


@pytest.mark.parametrize(
    ("name", "products"),
    [
        ("raspberry-pi-4", "widening (SMULL, SADALP)"),
        ("raspberry-pi-5", "dot product (SDOT)"),
        ("android-flagship", "int8 matrix products (SMMLA)"),
        ("intel-n100", "VNNI (VPDPBUSD)"),
    ],
)
def test_what_the_instruction_set_means_for_int8(name, products):
    decided = {one.what: one.value for one in load_profile(name).decisions()}
    assert decided["int8 products"] == products


def test_seven_bits_have_the_reason_that_sums_saturate():
    isa = ("x86_64", "avx2")
    decided = {one.what: one for one in decide_integers(isa, numerics_for(isa))}
    assert decided["int8 weights"].value == "7 bits" and "saturate" in decided["int8 weights"].reason
    assert decided["int8 products"].value == "widening (VPMADDUBSW)"


def test_ceilings_and_threads_are_those_of_the_runtime_on_the_device():
    flagship = {one.what: one for one in load_profile("android-flagship").decisions()}
    assert flagship["onnxruntime opset"].value == "at most 23"
    assert flagship["onnxruntime IR version"].value == "at most 11"
    assert flagship["onnxruntime IR version"].reason == "onnxruntime 1.23.0 loads no newer one"
    assert flagship["onnxruntime threads"].value == "4"
    assert flagship["onnxruntime threads"].reason == "as the profile states, of 5 fast cores"
    here = {one.what: one for one in load_profile("host").decisions()}
    assert here["onnxruntime threads"].value.startswith("1 to ")
