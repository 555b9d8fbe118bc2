"""The cheapest way to do some nodes of a graph in int8 and the others in float, by a minimum cut.

A node costs one price in int8 and another in float, and a tensor that passes between the two kinds costs a pass of its
own. With int8 on the side of the source and float on that of the sink, every division of the nodes is a cut through the
network of those prices, so the cheapest division is its minimum cut (Greig, Porteous and Seheult, 1989), found as the
maximum flow by Dinic's algorithm.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Mapping

_SOURCE, _SINK = -1, -2
_EMPTY = 1e-6
"""What rounding leaves of a full pipe; prices are nanoseconds."""
Capacities = dict[int, dict[int, float]]


def cheapest(
    prices: Mapping[int, tuple[float, float]], passes: Iterable[tuple[int, int, float]]
) -> tuple[set[int], float]:
    """Return the nodes that are float in the cheapest division, and its price.

    Args:
        prices: node (not negative) to its price in int8 and in float; `math.inf` for what it cannot be, not for both.
        passes: (node, node, price where the first is int8 and the second float). Several of one pair add up.
    """
    capacities: Capacities = {_SOURCE: {}, _SINK: {}, **{node: {} for node in prices}}
    for node, (as_int8, as_float) in prices.items():
        _add(capacities, _SOURCE, node, as_float)
        _add(capacities, node, _SINK, as_int8)
    for one, other, price in passes:
        _add(capacities, one, other, price)
    total = 0.0
    while (levels := _levels(capacities)).get(_SINK):
        edges = {node: list(after) for node, after in capacities.items()}
        while (path := _path(capacities, levels, edges)) is not None:
            total += _push(capacities, path)
    return {node for node in prices if node not in levels}, total


def _add(capacities: Capacities, start: int, end: int, price: float) -> None:
    capacities[start][end] = capacities[start].get(end, 0.0) + price
    capacities[end].setdefault(start, 0.0)


def _levels(capacities: Capacities) -> dict[int, int]:
    """Steps from the source to every node that more can flow to."""
    levels = {_SOURCE: 0}
    waiting = deque([_SOURCE])
    while waiting:
        node = waiting.popleft()
        for after, left in capacities[node].items():
            if left > _EMPTY and after not in levels:
                levels[after] = levels[node] + 1
                waiting.append(after)
    return levels


def _path(capacities: Capacities, levels: dict[int, int], edges: dict[int, list[int]]) -> list[int] | None:
    """A shortest way from source to sink that more can flow along; `edges` forgets what leads nowhere."""
    path = [_SOURCE]
    while path[-1] != _SINK:
        node = path[-1]
        while edges[node]:
            after = edges[node][-1]
            if capacities[node][after] > _EMPTY and levels.get(after) == levels[node] + 1:
                path.append(after)
                break
            edges[node].pop()
        else:
            path.pop()
            if not path:
                return None
            edges[path[-1]].pop()
    return path


def _push(capacities: Capacities, path: list[int]) -> float:
    steps = list(itertools.pairwise(path))
    flow = min(capacities[start][end] for start, end in steps)
    for start, end in steps:
        capacities[start][end] -= flow
        capacities[end][start] += flow
    return flow
