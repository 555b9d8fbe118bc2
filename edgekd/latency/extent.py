"""How large the loops of an operator are: what a count of instructions depends on beside the number of elements."""

import math
from collections.abc import Callable, Sequence

from onnx import NodeProto

from edgekd.latency.operators import CONVOLUTIONS, PRODUCTS, attribute, integers, text, weight_name
from edgekd.latency.wiring import Wiring

Shape = tuple[int, ...]
Extent = dict[str, int]
_ANOTHER = 3
ACTIVATIONS = {"": 0, "Relu": 1, "Clip": 2, **dict.fromkeys(("LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid"), _ANOTHER)}
"""Activations that are folded into convolutions and products, by the number an extent has for them."""


def extent(node: NodeProto, wiring: Wiring) -> Extent:
    """Return the sizes of a node's loops by name; empty where they are not known before the model runs.

    Convolutions: `batch, groups, inside` and `outside` (channels per group), `kernel_height, kernel_width, height,
    width` (of the output), `stride`, 0 or 1 for `padded, dilated, bias, sum` (adds a tensor), `last` (channels last),
    and `activation`: 0 none, 1 Relu, 2 Clip, 3 another. Products: `batch, rows, inner, columns`, 0 or 1 for `stored`,
    `bias` and `turned` (the second factor is transposed). All others: `pieces` of `run` consecutive elements
    each, which is how far their inner loop gets, and `kind`, a number that tells kernels of one operator apart.
    """
    shapes = [wiring.shapes.get(name) for name in (*node.input, *node.output) if name]
    if not any(node.input[:1]) or not any(node.output) or any(shape is None for shape in shapes):
        return {}
    if node.op_type in CONVOLUTIONS:
        return _convolution(node, wiring)
    if node.op_type in PRODUCTS:
        return _product(node, wiring)
    first, last = wiring.shapes[node.input[0]], wiring.shapes[next(name for name in node.output if name)]
    if node.op_type in _BY_OPERATOR:
        return _BY_OPERATOR[node.op_type](node, wiring, first, last)
    if node.op_type.startswith("Reduce"):
        return _reduction(node, wiring, first, last)
    return _broadcast(node, wiring, last)


def _convolution(node: NodeProto, wiring: Wiring) -> Extent:
    weight, result = wiring.shapes[weight_name(node)], wiring.shapes[node.output[0]]
    last = attribute(node, "channels_last", 0)
    image = list(result[1:-1] if last else result[2:])
    kernel = list(weight[2:])
    groups = max(attribute(node, "group", 1), 1)
    if not image or not kernel:
        return {}
    outside = weight[1] if node.op_type == "ConvTranspose" else weight[0] // groups
    inside = weight[0] // groups if node.op_type == "ConvTranspose" else weight[1]
    residual = node.op_type == "FusedConv" and len(node.input) > 3
    biased = len(node.input) > (8 if node.op_type == "QLinearConv" else 2)
    return {
        "batch": result[0],
        "groups": groups,
        "inside": inside,
        "outside": outside,
        "kernel_height": math.prod(kernel[:-1]),
        "kernel_width": kernel[-1],
        "height": math.prod(image[:-1]),
        "width": image[-1],
        "stride": max(_largest(node, "strides", 1), 1),
        "padded": int(_largest(node, "pads", 0) > 0 or text(node, "auto_pad").startswith("SAME")),
        "dilated": int(_largest(node, "dilations", 1) > 1),
        "bias": int(biased),
        "sum": int(residual),
        "last": last,
        "activation": ACTIVATIONS.get(text(node, "activation"), _ANOTHER),
    }


def _product(node: NodeProto, wiring: Wiring) -> Extent:
    name = weight_name(node)
    first, second, result = (wiring.shapes[at] for at in (node.input[0], name, node.output[0]))
    inner = first[0] if attribute(node, "transA", 0) and len(first) > 1 else first[-1]
    columns = result[-1] if result and len(second) > 1 else 1
    several = len(second) > 2 and math.prod(second[:-2]) > 1
    batch = math.prod(result[:-2]) if several else 1
    rows = math.prod(result) // max(columns * batch, 1)
    return {
        "batch": batch,
        "rows": rows,
        "inner": inner,
        "columns": columns,
        "stored": int(name in wiring.constants),
        "bias": int((node.op_type.endswith("Gemm") and len(node.input) > 2) or len(node.input) > _PLAIN[node.op_type]),
        "turned": int(bool(attribute(node, "transB", 0))),
        "activation": ACTIVATIONS.get(text(node, "activation"), _ANOTHER),
    }


_PLAIN = {"QLinearMatMul": 8, "QGemm": 6, "MatMulIntegerToFloat": 6, "DynamicQuantizeMatMul": 4, "MatMulInteger": 4}
_PLAIN |= dict.fromkeys(("MatMul", "FusedMatMul", "Gemm", "FusedGemm"), 2)
"""Inputs of a product that has no bias."""


def _broadcast(node: NodeProto, wiring: Wiring, last: Shape) -> Extent:
    """`kind`: 0 one input, inputs of one shape or of shapes that have nothing to do with each other; 1 all others hold
    one number; 2 they are repeated; 3 their elements are."""
    given = [wiring.shapes[name] for name in node.input if name]
    full = [shape for shape in given if math.prod(shape) == math.prod(last)]
    others = [shape for shape in given if math.prod(shape) != math.prod(last)]
    if node.op_type.startswith("QLinear"):
        others = [shape for shape in others if math.prod(shape) > 1]
    if not others or not full:
        return _runs(last, math.prod(last), 0)
    if all(math.prod(shape) == 1 for shape in others):
        return _runs(last, math.prod(last), 1)
    run, repeated = 1, None
    other = max(others, key=math.prod)
    if len(other) > len(last):  # a table of places, as GatherND has one
        return _runs(last, math.prod(last), 0)
    padded = (1,) * (len(last) - len(other)) + other
    for size, dim in zip(reversed(last), reversed(padded), strict=True):
        same = size == dim
        if size != 1 and repeated is None:
            repeated = not same
        if size != 1 and repeated == same:
            break
        run *= size
    return _runs(last, run, 2 if repeated else 3)


def _rows(node: NodeProto, wiring: Wiring, first: Shape, last: Shape) -> Extent:
    axis = attribute(node, "axis", -1) % max(len(first), 1)
    run = math.prod(first[axis:]) if node.op_type == "LayerNormalization" else first[axis] if first else 1
    return _runs(first, run, int(axis < len(first) - 1))


def _gelu(node: NodeProto, wiring: Wiring, first: Shape, last: Shape) -> Extent:
    """`kind` 1: the approximation by tanh."""
    return _runs(last, math.prod(last), int(text(node, "approximate") == "tanh"))


def _norm(node: NodeProto, wiring: Wiring, first: Shape, last: Shape) -> Extent:
    return _runs(first, first[-1] if first else 1, 0)


def _reduction(node: NodeProto, wiring: Wiring, first: Shape, last: Shape) -> Extent:
    """`kind` 0: the last dimensions are reduced, 1: the last one is kept."""
    kept = bool(first) and bool(last) and first[-1] == last[-1] != 1
    if kept:
        return _runs(first, first[-1], 1)
    return {"pieces": math.prod(last), "run": math.prod(first) // max(math.prod(last), 1), "kind": 0}


def _pool(node: NodeProto, wiring: Wiring, first: Shape, last: Shape) -> Extent:
    """`run`: elements of the kernel; `pieces`: rows of the output; `across`: the innermost dimension of the input;
    `side`: the kernel's; `stride`. `kind`: channels last."""
    kernel = integers(node, "kernel_shape")
    channels_last = node.op_type == "NhwcMaxPool" or attribute(node, "channels_last", 0)
    if node.op_type.endswith(("GlobalAveragePool", "GlobalMaxPool")):
        kept = first[-1] if channels_last else math.prod(first[:2])
        return {"pieces": kept, "run": math.prod(first) // max(kept, 1), "kind": int(channels_last)}
    kind = int(channels_last)
    return {
        "pieces": math.prod(last[:-1]),
        "run": math.prod(kernel),
        "across": first[-1] if first else 1,
        "side": kernel[-1] if kernel else 1,
        "stride": _largest(node, "strides", 1),
        "kind": kind,
    }


def _transpose(node: NodeProto, wiring: Wiring, first: Shape, last: Shape) -> Extent:
    """`kind` 0: nothing but ones moves, 1: the end stays, 2: one axis moves to the end, 3: one away from it, 4: else,
    which goes element by element; to the runtime an axis of one element is an axis too."""
    order = integers(node, "perm") or list(range(len(first)))[::-1]
    if sorted(order) != list(range(len(first))):
        return {}
    moved = [axis for axis in order if first[axis] != 1]
    if moved == sorted(moved):
        return _runs(last, math.prod(last), 0)
    run = 1
    for to in reversed(range(len(order))):
        if order[to] != to:
            break
        run *= first[to]
    if run > 1:
        return _runs(last, run, 1)
    if order[:-1] == sorted(order[:-1]):
        return _runs(last, last[-1], 2)
    end = len(order) - 1
    rest = [axis for axis in order if axis != end]
    if rest == sorted(rest):
        return _runs(last, math.prod(last[order.index(end) + 1 :]), 3)
    return _runs(last, last[-1], 4)


def _joined(node: NodeProto, wiring: Wiring, first: Shape, last: Shape) -> Extent:
    """Concat and Split copy every part's share of one outer step at a time."""
    whole = first if node.op_type == "Split" else last
    axis = attribute(node, "axis", 0) % max(len(whole), 1)
    parts = len(node.output) if node.op_type == "Split" else len(node.input)
    if node.op_type == "QLinearConcat":
        parts = (len(node.input) - 2) // 3
    outer = math.prod(whole[:axis])
    return {"pieces": outer * parts, "run": max(math.prod(whole) // max(outer * parts, 1), 1), "kind": 0}


def _picked(node: NodeProto, wiring: Wiring, first: Shape, last: Shape) -> Extent:
    """Slice, Pad and Gather copy as many elements at once as both sides have in a row."""
    run = 1
    for before, after in zip(reversed(first), reversed(last), strict=False):
        run *= min(before, after)
        if before != after:
            break
    return _runs(last, max(run, 1), 0)


def _resized(node: NodeProto, wiring: Wiring, first: Shape, last: Shape) -> Extent:
    kinds = {"": 0, "nearest": 0, "linear": 1, "cubic": 2}
    return _runs(last, last[-1] if last else 1, kinds.get(text(node, "mode"), 0))


def _recurrence(node: NodeProto, wiring: Wiring, first: Shape, last: Shape) -> Extent:
    weight, recurrent = wiring.shapes[node.input[1]], wiring.shapes[node.input[2]]
    hidden = attribute(node, "hidden_size", 1)
    gates = max(math.prod(recurrent) // max(weight[0] * hidden * hidden, 1), 1)
    return {
        "steps": first[0],
        "batch": first[1],
        "directions": weight[0],
        "inside": first[2],
        "hidden": hidden,
        "gates": gates,
    }


def _runs(shape: Sequence[int], run: int, kind: int) -> Extent:
    return {"pieces": math.prod(shape) // max(run, 1), "run": run, "kind": kind}


def _largest(node: NodeProto, name: str, default: int) -> int:
    return max(integers(node, name), default=default)


_BY_OPERATOR: dict[str, Callable[[NodeProto, Wiring, Shape, Shape], Extent]] = {
    **dict.fromkeys(("Softmax", "LogSoftmax", "QLinearSoftmax", "LayerNormalization"), _rows),
    **dict.fromkeys(("SkipLayerNormalization", "RMSNormalization"), _norm),
    **dict.fromkeys(("MaxPool", "NhwcMaxPool", "AveragePool", "QLinearAveragePool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "QLinearGlobalAveragePool"), _pool),
    **dict.fromkeys(("ArgMax", "ArgMin"), _reduction),
    "Gelu": _gelu,
    "Transpose": _transpose,
    **dict.fromkeys(("Concat", "QLinearConcat", "Split"), _joined),
    **dict.fromkeys(("Slice", "Pad", "Gather"), _picked),
    "Resize": _resized,
    **dict.fromkeys(("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"), _recurrence),
}
