"""Random small networks that the costs of operators are fitted to: stem, stages of blocks, head."""

import math
from random import Random

import onnx

from edgekd.calibration.blocks import ACTIVATIONS, MAP_BLOCKS, ROW_BLOCKS, Block, pointwise, pool
from edgekd.calibration.draft import Draft

KINDS = (*MAP_BLOCKS, "inverted", "bottleneck", *ROW_BLOCKS, "mixed", "recurrent")
"""Kinds of network, in turn by number."""
_MOST_MACS = 1.2e9
_WIDEST = 640
_LARGE = 0.4
"""Share of networks that are too large for a core's own cache."""


def network(seed: int) -> onnx.ModelProto:
    """Return the network of that number: the kinds of block in turn, with widths, depths and sizes of its own."""
    draw = Random(seed)
    kind = KINDS[seed % len(KINDS)]
    while True:
        if kind == "recurrent":
            return _recurrent(draw)
        draft, x = _rows(draw, ROW_BLOCKS[kind]) if kind in ROW_BLOCKS else _maps(draw, kind)
        if _macs(draft) <= _MOST_MACS:
            return _head(draft, x, draw)


def _maps(draw: Random, kind: str) -> tuple[Draft, str]:
    large = draw.random() < _LARGE
    side = draw.choice((64, 96, 112) if large else (64, 96, 112, 128, 160, 192))
    activation = draw.choice(ACTIVATIONS[:-1])
    width = draw.choice((64, 80, 90, 96, 128) if large else (8, 16, 18, 24, 30, 32, 40, 42, 48, 58))
    kernel, stride = draw.choice(((3, 2), (3, 2), (7, 2), (5, 2), (4, 4)))
    draft = Draft((1, 3, side, side))
    x = draft.activation(draft.convolution("input", width, kernel, stride=stride), activation)
    if draw.random() < 0.4:
        x = pool(draft, x, "MaxPool", 3, 2)
    for _ in range(4 if large else draw.choice((2, 3, 4))):
        for _ in range(draw.choice((2, 3) if large else (1, 2, 3))):
            name = draw.choice(tuple(MAP_BLOCKS)) if kind == "mixed" else kind
            x = MAP_BLOCKS[name](draft, x, draw, activation)
        if draft.shapes[x][2] > 6:
            x = _down(draft, x, draw, activation)
    return draft, x


def _down(draft: Draft, x: str, draw: Random, activation: str) -> str:
    """Half the side, more channels: by a dense, grouped, depthwise or 2 x 2 convolution, or a pool.

    Widths that four does not divide stay so: the runtime has no blocks of channels for them.
    """
    width = draft.shapes[x][1]
    wider = min(int(width * draw.choice((1, 1.5, 2, 2))) // 8 * 8, _WIDEST) + width % 4
    way = draw.choice(("dense", "depthwise", "depthwise", "patch", "pool", "grouped"))
    if way == "dense":
        return draft.activation(draft.convolution(x, wider, 3, stride=2), activation)
    if way == "grouped":
        groups = width // draw.choice((4, 8, 16, 16) if width % 16 == 0 else (4, 8) if width % 8 == 0 else (2,))
        x = draft.activation(draft.convolution(x, width, 3, stride=2, groups=groups), activation)
        return pointwise(draft, x, wider, activation)
    if way == "patch":
        return draft.convolution(x, wider, 2, stride=2)
    if way == "depthwise":
        wide = width * draw.choice((1, 4))
        x = pointwise(draft, x, wide, activation) if wide > width else x
        x = draft.convolution(x, wide, draw.choice((3, 5)), stride=2, groups=wide)
        return pointwise(draft, draft.activation(x, activation), wider)
    x = pool(draft, x, draw.choice(("MaxPool", "AveragePool")), 2, 2)
    return pointwise(draft, x, wider, activation)


def _rows(draw: Random, block: Block) -> tuple[Draft, str]:
    width = draw.choice((64, 96, 128, 192, 256, 384))
    if draw.random() < 0.5:
        rows = draw.choice((32, 50, 64, 128, 197))
        draft, x = Draft((1, rows, width)), "input"
    else:
        patch, count = draw.choice((8, 16)), draw.choice((7, 10, 14))
        draft = Draft((1, 3, patch * count, patch * count))
        x = draft.convolution("input", width, patch, stride=patch)
        x = draft.turned(draft.reshaped(x, 1, width, count * count), 0, 2, 1)
    for _ in range(draw.choice((2, 3, 6))):
        x = block(draft, x, draw, draw.choice(("Gelu", "Gelu", "Relu", "Silu")))
    return draft, draft.norm(x)


def _head(draft: Draft, x: str, draw: Random) -> onnx.ModelProto:
    """What classes leave by."""
    classes = draw.choice((10, 100, 1000))
    if len(draft.shapes[x]) == 3:
        mean = draft.add("ReduceMean", [x, draft.constant([1])], (1, draft.shapes[x][2]), keepdims=0)
        return draft.model(draft.linear(mean, classes))
    if draw.random() < 0.5:
        x = pointwise(draft, x, draw.choice((256, 512, 960, 1280)), draw.choice(ACTIVATIONS))
    width = draft.shapes[x][1]
    pooled = draft.add("GlobalAveragePool", [x], (1, width, 1, 1)) if draw.random() < 0.4 else draft.mean(x)
    return draft.model(draft.linear(draft.reshaped(pooled, 1, width), classes))


def _recurrent(draw: Random) -> onnx.ModelProto:
    """One or two LSTM layers over a short sequence, and what reads the last step."""
    steps, features = draw.choice((8, 16, 32, 64)), draw.choice((16, 40, 64))
    draft, x = Draft((steps, 1, features)), "input"
    for _ in range(draw.choice((1, 2))):
        inside, hidden = draft.shapes[x][2], draw.choice((32, 64, 128, 192))
        stored = [draft.weight(1, 4 * hidden, size) for size in (inside, hidden)] + [draft.weight(1, 8 * hidden)]
        x = draft.add("LSTM", [x, *stored], (steps, 1, 1, hidden), hidden_size=hidden)
        x = draft.reshaped(x, steps, 1, hidden)
    last = draft.add("Gather", [x, draft.constant(steps - 1)], (1, draft.shapes[x][2]), axis=0)
    return draft.model(draft.linear(last, 12))


def _macs(draft: Draft) -> float:
    """Multiply-accumulates of the convolutions and products by stored weights."""
    shapes = {one.name: tuple(one.dims) for one in draft.stored}
    total = 0.0
    for node in draft.nodes:
        if node.op_type in ("Conv", "Gemm", "MatMul") and node.input[1] in shapes:
            weight, out = shapes[node.input[1]], draft.shapes[node.output[0]]
            places = out[2] * out[3] if node.op_type == "Conv" else out[-2] if len(out) > 1 else 1
            total += places * math.prod(weight)
    return total
