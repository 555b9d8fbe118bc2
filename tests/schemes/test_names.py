"""Names of schemes say what they do."""

import pytest

from edgekd.device import Numerics
from edgekd.schemes.names import parse_scheme

BASES = {"fp32": 0, "int8_static": 0, "int8_dynamic": 0}
DEVICE = Numerics(activations="int8", per_channel=True, reduce_range=False)


def test_a_base_alone_leaves_all_to_the_device() -> None:
    variant = parse_scheme("int8_static", BASES)
    assert variant is not None and variant.method == "minmax"
    assert variant.numerics_of(DEVICE) == DEVICE


def test_every_word_overrides_one_thing() -> None:
    variant = parse_scheme("int8_static_tensor_u8s8_reduced_percentile", BASES)
    assert variant is not None and (variant.base, variant.method) == ("int8_static", "percentile")
    assert variant.numerics_of(DEVICE) == Numerics(activations="uint8", per_channel=False, reduce_range=True)


@pytest.mark.parametrize(
    "name",
    [
        "int8_static_u8s8_tensor",  # out of order
        "int8_static_tensor_channel",
        "int8_static_",
        "int8_staticc",
        "int8_dynamic_entropy",  # it calibrates nothing
        "fp32_tensor",
        "int4",
    ],
)
def test_other_names_are_none(name: str) -> None:
    assert parse_scheme(name, BASES) is None
