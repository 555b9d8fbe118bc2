"""Prices of operators by hand, and files of prices from strangers."""

import json
import math

import pytest

from edgekd.errors import BadInput
from edgekd.latency.graph import NodeCost
from edgekd.latency.operator_costs import COARSE, SPREAD, KindCosts, OperatorCosts, nanoseconds_of, read_costs

NODE = NodeCost("n", "conv_1x1", "fp32", 1000, 40, 300, 200, "Conv", variant="_nchwc")
LINEAR = (0.5, 3.0, 0.1, 0.2, 2.0, 70.0)
BY_HAND = 1000 * 0.5 + 300 * 0.1 + 200 * 0.2 + 40 * 2.0 + 70


def costs(**tables) -> OperatorCosts:
    return OperatorCosts(
        **{"schema": 2, "processor": "one", "runtime_version": "1.31.1", "date": "2026-11-22", "reference_ns": 1e6},
        **{"run_ns": 5000, "low": 0.9, "high": 1.1, "median_error": 0.04, "graphs": 10},
        **{"fp32": {"activation": KindCosts(linear=(0, 0, 0, 0, 0, 9))}, "int8": {}, **tables},
    )


def test_a_kind_costs_what_its_five_rates_say():
    found = costs(
        fp32={"conv_1x1/Conv_nchwc": KindCosts(linear=LINEAR), "conv_1x1": KindCosts(linear=(9, 9, 9, 9, 9, 9))}
    )
    assert nanoseconds_of([NODE], found, footprint=1e6) == [pytest.approx(BY_HAND)]


def test_an_operator_where_one_was_timed_is_drawn_towards_it():
    # Multiply-accumulates, elements read, written, weights; the whole graph's bytes.
    at = (*map(math.log, (1001, 301, 201, 41)), math.log1p(1e6) / 2)
    found = costs(fp32={"conv_1x1": KindCosts(linear=LINEAR, points=(at,), pulls=(2.0,))})
    expected = (BY_HAND + COARSE) * math.exp(SPREAD**2 * 2.0) - COARSE
    assert nanoseconds_of([NODE], found, footprint=1e6) == [pytest.approx(expected)]


def test_kinds_without_costs_of_their_own_take_those_of_their_likest():
    table = {"conv_1x1": KindCosts(linear=LINEAR), "activation": KindCosts(linear=(0, 0, 0, 0, 0, 9))}
    integer = NodeCost("n", "conv_1x1", "int8", 1000, 40, 300, 200, "QLinearConv")
    unheard = NodeCost("n", "other", "int8", 0, 0, 300, 200, "Fancy")
    assert nanoseconds_of([integer, unheard], costs(fp32=table), footprint=1.0) == [pytest.approx(BY_HAND), 9.0]
    own = costs(fp32=table, int8={"conv_1x1": KindCosts(linear=(0, 0, 0, 0, 0, 3))})
    assert nanoseconds_of([integer], own, footprint=1.0) == [3.0]


def test_steps_of_what_multiplies_nothing_and_fused_activations_are_priced():
    pool = NodeCost("n", "pool", "fp32", 0, 0, 100, 25, "MaxPool", steps=225)
    gated = NodeCost("n", "conv_1x1", "fp32", 1000, 40, 300, 200, "Conv", variant="_nchwc", fused="HardSwish")
    relu = NodeCost("n", "conv_1x1", "fp32", 1000, 40, 300, 200, "Conv", variant="_nchwc", fused="Relu")
    table = {
        "pool": KindCosts(linear=(0, 2, 0, 0, 0, 1)),
        "conv_1x1": KindCosts(linear=LINEAR),
        "fused/HardSwish": KindCosts(linear=(0, 0, 0, 0.5, 0, 0)),
    }
    found = nanoseconds_of([pool, gated, relu], costs(fp32=table), footprint=1.0)
    assert found == [451.0, pytest.approx(BY_HAND + 100), pytest.approx(BY_HAND)]


def test_costs_come_back_as_they_were_written(tmp_path):
    whole = costs(fp32={"conv_1x1": KindCosts(linear=LINEAR, points=((1, 2, 3, 4, 5),), pulls=(0.5,))})
    path = tmp_path / "host.json"
    path.write_text(whole.model_dump_json(by_alias=True))
    assert read_costs(path) == whole


def changed(**fields) -> str:
    return json.dumps({**json.loads(costs().model_dump_json(by_alias=True)), **fields})


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        "[" * 100_000,
        "[]",
        changed(run_ns=-1),
        changed(date="yesterday"),
        changed(fp32={"conv": {"linear": [1, 1, 1, 1, 1]}}),
        changed(fp32={"conv": {"linear": [1, 1, 1, 1, 1, -1]}}),
        changed(fp32={"conv": {"linear": [0, 0, 0, 0, 0, 0], "points": [[1, 1, 1, 1, 1]]}}),
        changed(fp32={str(at): {"linear": [0, 0, 0, 0, 0, 0]} for at in range(501)}),
        changed(unknown=1),
        changed(reference_ns=math.nan),
        changed(processor="x" * 201),
    ],
)
def test_files_that_are_no_calibration_are_refused_in_a_sentence(content, tmp_path):
    path = tmp_path / "host.json"
    path.write_text(content)
    with pytest.raises(BadInput, match=r"^host\.json: this is not a calibration.*calibrate again\.$"):
        read_costs(path)


def test_a_file_of_megabytes_is_not_even_read(tmp_path):
    path = tmp_path / "host.json"
    with path.open("wb") as file:
        file.truncate(9 * 2**20)
    with pytest.raises(BadInput, match="larger than any calibration"):
        read_costs(path)
