"""Costs come back out of timings that were made from them."""

import math
import random

import numpy as np
import pytest

from edgekd.calibration.fit import Timed, fit, fit_kind, non_negative
from edgekd.latency.graph import NodeCost
from edgekd.latency.operator_costs import kernel_ns

PLANTED = (0.02, 0.05, 0.1, 0.03, 900.0)
FOOTPRINT = 4e6


def convolution(channels: int, filters: int, side: int, fused: str = "") -> NodeCost:
    return NodeCost(
        *("n", "conv_1x1", "fp32", channels * filters * side**2, channels * filters),
        *(channels * side**2, filters * side**2, "Conv"),
        variant="_nchwc",
        fused=fused,
    )


def cost(node: NodeCost) -> float:
    amounts = (node.macs, node.elements_read, node.elements_written, node.weights, 1)
    return sum(rate * amount for rate, amount in zip(PLANTED, amounts, strict=True))


def convolutions(count: int = 60) -> list[NodeCost]:
    draw = random.Random(3)
    widths, sides = (16, 32, 64, 128, 256), (5, 7, 14, 28, 40)
    return [convolution(draw.choice(widths), draw.choice(widths), draw.choice(sides)) for _ in range(count)]


def test_non_negative_least_squares_finds_planted_coefficients_and_leaves_out_what_would_be_negative():
    matrix = np.random.default_rng(0).random((40, 3)) * [1e6, 1.0, 1e-3]
    assert non_negative(matrix, matrix @ [2e-6, 3.0, 0.0]) == pytest.approx([2e-6, 3.0, 0.0], abs=1e-9)
    # The best plane has a slope of -1: without it, what is left is a mean.
    found = non_negative(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), np.array([3.0, 2.0, 1.0]))
    assert found == pytest.approx([2.0, 0.0])


def test_planted_rates_are_recovered():
    costs = fit_kind([Timed(node, cost(node), FOOTPRINT) for node in convolutions()])
    assert costs.linear[0] == pytest.approx(PLANTED[0], rel=1e-3)
    unseen = convolution(96, 48, 20)
    assert kernel_ns([unseen], costs, FOOTPRINT)[0] == pytest.approx(cost(unseen), rel=0.01)


def efficiency(node: NodeCost) -> float:
    """Few filters are slow, smoothly so."""
    return 1 + 2 * math.exp(-node.elements_written / node.macs * node.weights / 40)


def test_what_the_formula_cannot_say_is_learned_from_neighbours():
    nodes = convolutions(120)
    rows = [Timed(node, cost(node) * efficiency(node), FOOTPRINT) for node in nodes]
    formula, corrected = fit_kind(rows, corrected=False), fit_kind(rows)
    unseen = [convolution(48, 96, 14), convolution(200, 40, 10), convolution(24, 150, 28)]

    def errors(costs):
        said = kernel_ns(unseen, costs, FOOTPRINT)
        return [abs(math.log(one / (cost(node) * efficiency(node)))) for one, node in zip(said, unseen, strict=True)]

    assert max(errors(corrected)) < 0.04 < max(errors(formula))


def test_a_graph_of_another_footprint_takes_what_such_graphs_took():
    rows = [
        Timed(node, cost(node) * slower, footprint)
        for node in convolutions(80)
        for slower, footprint in ((1.0, 1e5), (1.3, 6e7))
    ]
    costs, unseen = fit_kind(rows), convolution(96, 96, 14)
    near, far = (kernel_ns([unseen], costs, footprint)[0] for footprint in (1e5, 6e7))
    assert far / near == pytest.approx(1.3, rel=0.05)


def test_far_from_everything_timed_the_formula_stands_alone():
    rows = [Timed(node, 1.5 * cost(node), FOOTPRINT) for node in convolutions()]
    costs, huge = fit_kind(rows), convolution(40_000, 40_000, 400)
    linear = sum(
        rate * amount
        for rate, amount in zip(
            costs.linear,
            (huge.macs, huge.steps, huge.elements_read, huge.elements_written, huge.weights, 1),
            strict=True,
        )
    )
    assert kernel_ns([huge], costs, FOOTPRINT)[0] == pytest.approx(linear, rel=1e-6)


def test_a_timing_that_another_process_disturbed_does_not_count():
    nodes = convolutions()
    rows = [Timed(node, cost(node), FOOTPRINT) for node in nodes]
    disturbed = [*rows[:7], Timed(nodes[7], 6 * cost(nodes[7]), FOOTPRINT), *rows[8:]]
    said = kernel_ns([nodes[7]], fit_kind(disturbed), FOOTPRINT)[0]
    assert said == pytest.approx(cost(nodes[7]), rel=0.05)


def test_an_activation_done_by_the_way_costs_by_the_element():
    plain = [Timed(node, cost(node), FOOTPRINT) for node in convolutions()]
    gated = [convolution(64, 64, side, "HardSwish") for side in (7, 14, 28)]
    tables = fit([*plain, *(Timed(node, cost(node) + 0.4 * node.elements_written, FOOTPRINT) for node in gated)])
    assert tables["fp32"]["fused/HardSwish"].linear[3] == pytest.approx(0.4, rel=0.1)
    assert set(tables["fp32"]) == {"conv_1x1", "conv_1x1/Conv_nchwc", "fused/HardSwish"}
    assert tables["int8"] == {}
