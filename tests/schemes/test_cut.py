"""The minimum cut against every possible division of small graphs."""

import itertools
import math

import numpy as np
import pytest

from edgekd.schemes.cut import cheapest


def price_of(floats: set[int], prices: dict[int, tuple[float, float]], passes: list[tuple[int, int, float]]) -> float:
    own = sum(price[1 if node in floats else 0] for node, price in prices.items())
    return own + sum(price for one, other, price in passes if one not in floats and other in floats)


@pytest.mark.parametrize("seed", range(30))
def test_no_other_division_is_cheaper(seed: int) -> None:
    generator = np.random.default_rng(seed)
    prices = {node: tuple(generator.uniform(0, 10, 2)) for node in range(7)}
    prices[0], prices[6] = (math.inf, 3.0), (2.0, math.inf)
    pairs = [pair for pair in itertools.permutations(range(7), 2) if generator.random() < 0.4]
    passes = [(one, other, float(generator.uniform(0, 8))) for one, other in pairs]
    floats, price = cheapest(prices, passes)
    every = (set(some) for count in range(8) for some in itertools.combinations(range(7), count))
    assert price == pytest.approx(min(price_of(some, prices, passes) for some in every))
    assert price_of(floats, prices, passes) == pytest.approx(price)
    assert 0 in floats and 6 not in floats


def test_a_node_between_floats_stays_float_when_its_gain_is_less_than_two_passes() -> None:
    prices = {0: (math.inf, 1.0), 1: (4.0, 9.0), 2: (math.inf, 1.0)}
    around = [(1, 0, 3.0), (1, 2, 3.0)]
    assert cheapest(prices, around) == ({0, 1, 2}, pytest.approx(11.0))
    assert cheapest({**prices, 1: (2.0, 9.0)}, around) == ({0, 2}, pytest.approx(10.0))


def test_a_long_chain_is_divided_within_a_moment() -> None:
    prices = {node: ((1.0, 2.0) if node % 50 else (math.inf, 1.0)) for node in range(1000)}
    passes = [edge for node in range(999) for edge in ((node, node + 1, 5.0), (node + 1, node, 5.0))]
    floats, price = cheapest(prices, passes)
    assert len(floats) == 20  # those alone that cannot be int8
    assert price == pytest.approx(980 + 20 + 5 * 39)
