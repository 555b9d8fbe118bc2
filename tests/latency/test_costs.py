import csv
import statistics
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.latency.costs import instructions, outside
from edgekd.latency.graph import NodeCost
from edgekd.latency.loops import _seen, loops

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
LEVELS = ("neon", "dotprod")


def convolution(inside, outside_, side, *, kernel=1, groups=1, precision="fp32", last=0, **more):
    extent = {
        **{"batch": 1, "groups": groups, "inside": inside, "outside": outside_, "kernel_height": kernel},
        **{"kernel_width": kernel, "height": side, "width": side, "stride": 1, "padded": int(kernel > 1)},
        **{"dilated": 0, "bias": 1, "sum": 0, "last": last, "activation": 0, **more},
    }
    kind = "conv_1x1" if kernel == 1 else "conv_3x3"
    macs = side * side * groups * inside * outside_ * kernel**2
    kernel_type = "Conv" if precision == "fp32" else "QLinearConv"
    read, written = side * side * groups * inside, side * side * groups * outside_
    return NodeCost("n", kind, precision, macs, macs // side**2, read, written, kernel_type, extent)


@pytest.fixture(scope="module")
def counted():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from kernel_table import read
    finally:
        sys.path.remove(str(BENCHMARKS))
    return read(BENCHMARKS / "kernels.csv.xz")


def test_loops_of_a_float_convolution_counted_by_hand():
    # 16 x 8 filters times 8 x 100 pixels: 4 times 4 rows, 6 x 16 columns and 4 more, which take half a tile.
    name, turns = loops(convolution(8, 16, 10), "neon")
    assert name == "Conv/fp32/pointwise"
    assert turns["tiles"] == 8 * 6 * 4 and turns["halves"] == 8 * 4 and turns["thin"] == 0
    assert turns["copied"] == 8 * 100 and turns["biased"] == 1600


def test_rows_and_columns_that_a_padded_kernel_sees():
    # 3 x 3 over 4 x 4 with a ring of zeros: the outer taps see 3 of 4 rows, the inner one all: 10 of 12.
    _, turns = loops(convolution(1, 1, 4, kernel=3, groups=2, dilated=1, padded=0), "neon")
    assert turns["rows"] == 2 * 12 * 3 and turns["zeros"] == 0
    _, turns = loops(convolution(2, 3, 4, kernel=3), "neon")
    assert turns["rows"] == 2 * 10 * 3 and turns["rows_outside"] == 2 * 2 * 3
    assert turns["elements"] == 2 * 10 * 10 and turns["zeros"] == 2 * 10 * 2


def test_the_tiles_of_integer_convolutions_are_the_multiplications_counted(counted):
    # A tile of 4 rows, 16 columns and 16 deep is 64 SDOT; one of 4, 2 or 1 rows, 4 columns and 16 deep at Armv8.0 is
    # rows x 8 SMULL.
    checked = 0
    for node, counts in counted:
        if loops(node, "dotprod")[0] != "QLinearConv/int8/pointwise":
            continue
        tiles = loops(node, "dotprod")[1]["tiles_4"]
        halves = {rows: loops(node, "neon")[1].get(f"tiles_{rows}", 0) for rows in (4, 2, 1)}
        assert counts["dotprod"]["multiply"] == 64 * tiles
        assert counts["neon"]["multiply"] == 8 * sum(rows * times for rows, times in halves.items())
        checked += 1
    assert checked > 100


def test_most_counted_kernels_are_predicted_within_a_few_percent(counted):
    errors = []
    for node, counts in counted:
        for level in LEVELS:
            found = instructions(node, level)
            total = counts[level]["total"]
            errors.append(abs(found.total - total) / (total + 5000))
            assert found.multiply >= 0 and found.other >= 0 and found.loads >= 0 and found.stores >= 0
    assert statistics.median(errors) < 0.03
    assert statistics.quantiles(errors, n=10)[8] < 0.12


def test_the_shipped_costs_are_the_fit_to_the_shipped_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import instruction_costs

    shipped = instruction_costs.OUT
    monkeypatch.setattr(instruction_costs, "OUT", tmp_path / "instructions.csv")
    instruction_costs.main()
    rows, again = (list(csv.reader(path.open(newline=""))) for path in (shipped, tmp_path / "instructions.csv"))
    assert [row[:3] for row in rows] == [row[:3] for row in again]
    for row, fitted in zip(rows[1:], again[1:], strict=True):
        assert [float(cell) for cell in row[3:]] == pytest.approx([float(cell) for cell in fitted[3:]], rel=1e-2)


@settings(max_examples=60, deadline=None)
@given(
    inside=st.integers(1, 200),
    outside_=st.integers(1, 200),
    side=st.integers(2, 40),
    kernel=st.sampled_from([1, 3, 5]),
    how=st.sampled_from([("fp32", 0), ("int8", 1)]),
    level=st.sampled_from(LEVELS),
    larger=st.sampled_from(["inside", "outside_", "side"]),
)
def test_twice_as_much_of_anything_takes_more(inside, outside_, side, kernel, how, level, larger):
    sizes = {"inside": inside, "outside_": outside_, "side": side}
    precision, last = how
    small, large = (
        instructions(convolution(**at, kernel=kernel, precision=precision, last=last), level)
        for at in (sizes, {**sizes, larger: 2 * sizes[larger]})
    )
    # Twice the channels may be of a number that a better kernel takes: half of what they were, in one case.
    assert large.total > 0.55 * small.total
    if precision == "fp32":
        assert large.total > small.total


def test_what_was_never_counted_is_outside():
    known = convolution(64, 64, 28)
    new = NodeCost("n", "other", "fp32", 0, 0, 1000, 1000, "NewOne", {"pieces": 1, "run": 1000, "kind": 0})
    assert outside([known], "neon") == 0
    assert outside([new], "neon") == 1
    both = instructions(known, "neon").total, instructions(new, "neon").total
    assert outside([known, new], "neon") == pytest.approx(both[1] / sum(both))


def test_loops_far_longer_than_any_counted_are_outside():
    assert outside([convolution(64, 64, 28)], "dotprod") == 0
    assert outside([convolution(4096, 4096, 500)], "dotprod") == 1


def test_a_node_of_unknown_size_is_priced_by_its_class_and_is_outside():
    node = NodeCost("n", "conv_1x1", "int8", 1_000_000, 1000, 1000, 1000, "QLinearConv")
    assert instructions(node, "neon").total > 1_000_000 / 16
    assert outside([node], "neon") == 1
    assert outside([], "neon") == 0


@given(
    outputs=st.integers(1, 20),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 3),
    padded=st.booleans(),
    dilated=st.booleans(),
)
def test_what_each_tap_sees_agrees_with_counting_one_by_one(outputs, kernel, stride, padded, dilated):
    apart = 1 + dilated
    pad = apart * (kernel // 2) * padded
    inputs = (outputs - 1) * stride + apart * (kernel - 1) + 1 - 2 * pad
    places = [[at * stride + apart * tap - pad for at in range(outputs)] for tap in range(kernel)]
    wanted = [sum(0 <= place < inputs for place in row) for row in places]
    assert _seen(outputs, kernel, {"stride": stride, "padded": int(padded), "dilated": int(dilated)}) == wanted
