"""Pieces that networks are made of, each written behind the tensor that is given, in random variants.

They follow the blocks of mobile networks, residual networks and encoders, so that an operator meets the neighbours
that it would meet there; none is a published architecture.
"""

from collections.abc import Callable
from random import Random

from edgekd.calibration.draft import Draft

ACTIVATIONS = ("Relu", "Relu", "Relu6", "HardSwish", "Silu", "LeakyRelu", "Gelu")
Block = Callable[[Draft, str, Random, str], str]
"""Writes itself behind a tensor, by random choices, with that activation; keeps the shape."""


def pointwise(draft: Draft, x: str, width: int, kind: str = "") -> str:
    """A 1 x 1 convolution, with an activation if one is named."""
    made = draft.convolution(x, width, 1)
    return draft.activation(made, kind) if kind else made


def gate(draft: Draft, x: str, draw: Random) -> str:
    """Squeeze and excite."""
    width = draft.shapes[x][1]
    inner = pointwise(draft, draft.mean(x), max(8, width // draw.choice((4, 16))), draw.choice(("Relu", "Silu")))
    opened = draft.activation(draft.convolution(inner, width, 1), draw.choice(("HardSigmoid", "Sigmoid")))
    return draft.add("Mul", [x, opened], draft.shapes[x])


def inverted(draft: Draft, x: str, draw: Random, kind: str) -> str:
    """MobileNet's: widen, depthwise, narrow, add."""
    width = draft.shapes[x][1]
    wide = width * draw.choice((2, 3, 4, 6))
    inner = draft.convolution(pointwise(draft, x, wide, kind), wide, draw.choice((3, 3, 5, 7)), groups=wide)
    inner = draft.activation(inner, kind)
    if draw.random() < 0.4:
        inner = gate(draft, inner, draw)
    return draft.sum(pointwise(draft, inner, width), x)


def separable(draft: Draft, x: str, draw: Random, kind: str) -> str:
    """Depthwise and pointwise."""
    width = draft.shapes[x][1]
    x = draft.activation(draft.convolution(x, width, draw.choice((3, 3, 5)), groups=width), kind)
    return pointwise(draft, x, width, kind)


def basic(draft: Draft, x: str, draw: Random, kind: str) -> str:
    """ResNet's of two dense convolutions."""
    width = draft.shapes[x][1]
    inner = draft.activation(draft.convolution(x, width, 3), kind)
    return draft.activation(draft.sum(draft.convolution(inner, width, draw.choice((3, 3, 1))), x), kind)


def bottleneck(draft: Draft, x: str, draw: Random, kind: str) -> str:
    """ResNet's and RegNet's: narrow, dense or grouped 3 x 3, widen, add."""
    width = draft.shapes[x][1]
    inner = max(8, width // draw.choice((1, 1, 2, 4)) // 8 * 8)
    fitting = [inner, *(one for one in (4, 8, 12, 16, 24, 32) if inner % one == 0 and one < inner)]
    per_group = draw.choice(fitting)
    made = draft.convolution(pointwise(draft, x, inner, kind), inner, 3, groups=inner // per_group)
    made = draft.activation(made, kind)
    if draw.random() < 0.2:
        made = gate(draft, made, draw)
    return draft.activation(draft.sum(pointwise(draft, made, width), x), kind)


def plain(draft: Draft, x: str, draw: Random, kind: str) -> str:
    """A dense convolution, and one of another kernel."""
    width = draft.shapes[x][1]
    x = draft.activation(draft.convolution(x, width, 3), kind)
    return draft.activation(draft.convolution(x, width, draw.choice((1, 5, 3))), kind)


def convnext(draft: Draft, x: str, draw: Random, kind: str) -> str:
    """A wide depthwise convolution, then products over channels that are last, or 1 x 1 convolutions."""
    width, wide = draft.shapes[x][1], draw.choice((2, 4)) * draft.shapes[x][1]
    inner = draft.convolution(x, width, 7, groups=width)
    if draw.random() < 0.4:
        return draft.sum(pointwise(draft, pointwise(draft, inner, wide, "Gelu"), width), x)
    inner = draft.norm(draft.turned(inner, 0, 2, 3, 1))
    inner = draft.activation(draft.linear(inner, wide), "Gelu")
    if draw.random() < 0.4:
        size = draft.add("ReduceL2", [inner, draft.constant([1, 2])], (1, 1, 1, wide))
        inner = draft.add("Mul", [inner, size], draft.shapes[inner])
    inner = draft.linear(inner, width)
    return draft.sum(draft.turned(inner, 0, 3, 1, 2), x)


def dense(draft: Draft, x: str, draw: Random, kind: str) -> str:
    """DenseNet's: a norm that no convolution takes in, two convolutions, all concatenated, and narrowed again."""
    _, width, high, wide = draft.shapes[x]
    stored = [draft.weight(width) for _ in range(3)] + [draft.constant([1] * width, "f4")]
    normed = draft.activation(draft.add("BatchNormalization", [x, *stored], draft.shapes[x]), kind)
    grown = draft.convolution(pointwise(draft, normed, 64, kind), 32, 3)
    joined = draft.add("Concat", [x, grown], (1, width + 32, high, wide), axis=1)
    return pointwise(draft, joined, width) if draw.random() < 0.5 else draft.convolution(joined, width, 3)


def shuffle(draft: Draft, x: str, draw: Random, kind: str) -> str:
    """ShuffleNet's: halves apart, one convolved, concatenated and shuffled."""
    shape = draft.shapes[x]
    _, width, high, wide = shape
    parts = [
        draft.add("Slice", [x, *(draft.constant([one]) for one in (start, start + width // 2, 1))],
                  (1, width // 2, high, wide))
        for start in (0, width // 2)
    ]  # fmt: skip
    right = draft.convolution(pointwise(draft, parts[1], width // 2, kind), width // 2, 3, groups=width // 2)
    joined = draft.add("Concat", [parts[0], pointwise(draft, right, width // 2, kind)], shape, axis=1)
    groups = draw.choice((2, 2, 4) if width % 4 == 0 else (2,))
    turned = draft.turned(draft.reshaped(joined, 1, groups, width // groups, high, wide), 0, 2, 1, 3, 4)
    return draft.reshaped(turned, *shape)


def branches(draft: Draft, x: str, draw: Random, kind: str) -> str:
    """Inception's and CSP's: several ways through, concatenated."""
    _, width, high, wide = draft.shapes[x]
    part = max(8, width // 4)
    first = pointwise(draft, x, part, kind)
    ways = [first, draft.activation(draft.convolution(first, part, 3), kind), pointwise(draft, x, part, kind)]
    ways.append(pointwise(draft, pool(draft, x, "MaxPool", 3, 1), part))
    joined = draft.add("Concat", ways, (1, 4 * part, high, wide), axis=1)
    if draw.random() < 0.3:
        small = pool(draft, joined, "AveragePool", 2, 2)
        sizes = draft.constant([1, 1, 2, 2], "float32")
        _, channels, half, half_wide = draft.shapes[small]
        joined = draft.add("Resize", [small, "", sizes], (1, channels, 2 * half, 2 * half_wide), mode="nearest")
        if draft.shapes[joined][2:] != (high, wide):
            return x
    return pointwise(draft, joined, width, kind)


def pool(draft: Draft, x: str, operator: str, kernel: int, stride: int) -> str:
    """MaxPool or AveragePool, padded unless its kernel is its stride."""
    _, width, *sides = draft.shapes[x]
    pad = 0 if kernel == stride else kernel // 2
    high, wide = ((side + 2 * pad - kernel) // stride + 1 for side in sides)
    return draft.add(
        *(operator, [x], (1, width, high, wide)), kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4
    )


def attention(draft: Draft, x: str, draw: Random, kind: str) -> str:
    """An encoder's layer over (1, rows, width)."""
    _, rows, width = draft.shapes[x]
    heads = next(one for one in (draw.choice((3, 6, 8)), 4, 2, 1) if width % one == 0)
    normed = draft.norm(x)
    query, key, value = (draft.reshaped(draft.linear(normed, width), 1, rows, heads, width // heads) for _ in range(3))
    query, value = (draft.turned(one, 0, 2, 1, 3) for one in (query, value))
    if draw.random() < 0.3:  # as written by modules that stack the three and take them apart
        key = draft.turned(draft.reshaped(key, 1, rows, 1, heads, width // heads), 2, 0, 3, 4, 1)
        key = draft.reshaped(key, 1, heads, width // heads, rows)
    else:
        key = draft.turned(key, 0, 2, 3, 1)
    scores = draft.add("MatMul", [query, key], (1, heads, rows, rows))
    if draw.random() < 0.5:
        scores = draft.add("Mul", [scores, draft.constant(0.125, "float32")], draft.shapes[scores])
    weights = draft.add("Softmax", [scores], draft.shapes[scores], axis=-1)
    mixed = draft.turned(draft.add("MatMul", [weights, value], draft.shapes[value]), 0, 2, 1, 3)
    x = draft.sum(draft.linear(draft.reshaped(mixed, 1, rows, width), width), x)
    inner = draft.activation(draft.linear(draft.norm(x), draw.choice((2, 4)) * width), kind)
    return draft.sum(draft.linear(inner, width), x)


def mixer(draft: Draft, x: str, draw: Random, kind: str) -> str:
    """Products over rows and columns in turn."""
    _, rows, width = draft.shapes[x]
    turned = draft.turned(draft.norm(x), 0, 2, 1)
    mixed = draft.product(draft.activation(draft.product(turned, draw.choice((2, 4)) * rows), kind), rows)
    x = draft.sum(draft.turned(mixed, 0, 2, 1), x)
    inner = draft.activation(draft.linear(draft.norm(x), 2 * width), kind)
    return draft.sum(draft.linear(inner, width), x)


MAP_BLOCKS: dict[str, Block] = {
    "inverted": inverted,
    "separable": separable,
    "basic": basic,
    "bottleneck": bottleneck,
    "plain": plain,
    "convnext": convnext,
    "dense": dense,
    "shuffle": shuffle,
    "branches": branches,
}
"""Blocks over feature maps (1, channels, height, width)."""
ROW_BLOCKS: dict[str, Block] = {"attention": attention, "mixer": mixer}
"""Blocks over tokens (1, rows, width)."""
