"""Peak memory by hand."""

import runpy
from pathlib import Path

import pytest

from edgekd.calibration.draft import Draft
from edgekd.calibration.pairs import quantized
from edgekd.device import Numerics
from edgekd.latency.graph import summarise
from edgekd.latency.resident import CONSTANTS, LIBRARY_KIB, peak_resident_kib, terms

small = runpy.run_path(str(Path(__file__).parent / "small_graphs.py"))
SIGNED = Numerics(activations="int8", per_channel=True, reduce_range=False)


def drafted():
    """16 KiB of dense, 2.25 of grouped and 16 of product weights, beside 80 bias numbers and a shape of two."""
    draft = Draft((1, 64, 8, 8))
    x = draft.convolution("input", 64, 1)
    x = draft.convolution(x, 8, 3, groups=8)
    return draft.model(draft.linear(draft.reshaped(x, 1, 512), 8))


def test_terms_are_the_weights_by_kind_the_nodes_and_the_live_activations():
    found = terms(summarise(drafted()))
    dense, grouped, product = 64 * 64 * 4 / 1024, 8 * 8 * 9 * 4 / 1024, 512 * 8 * 4 / 1024
    # The input is there throughout; beside the second convolution there are its own input and output.
    expected = {
        **{"session": 1, "node": 6, "conv_fp32": dense, "product_fp32": grouped + product, "largest": dense},
        **{"conv_int8": 0, "product_int8": 0, "activations": (64 + 64 + 8) * 64 * 4 / 1024},
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["other"] == pytest.approx(((64 + 8 + 8) * 4 + 3 * 2 * 8) / 1024)
    said = LIBRARY_KIB + sum(CONSTANTS[name] * amount for name, amount in found.items())
    assert peak_resident_kib(summarise(drafted())) == pytest.approx(said)


def test_int8_weights_count_a_byte_in_the_file_and_as_if():
    summary = summarise(drafted())
    as_if, real = terms(summary, "int8"), terms(summarise(quantized(drafted(), SIGNED)))
    for found in (as_if, real):
        assert found["conv_int8"] == 4 and found["conv_fp32"] == 0
        assert found["product_int8"] == pytest.approx((8 * 8 * 9 + 512 * 8) / 1024)
    assert as_if["activations"] == terms(summary)["activations"] / 4


def test_halves_are_held_as_floats():
    summary = summarise(drafted())
    assert terms(summary, "fp16")["conv_fp32"] > 0
    assert terms(summary, "fp16")["conv_int8"] == 0


def test_more_of_anything_never_takes_less():
    thin, wide = (summarise(small["convolution"](filters=filters)) for filters in (16, 64))
    assert peak_resident_kib(thin) < peak_resident_kib(wide)
