"""Which channels of a network may be removed without anything outside one block noticing.

The network is traced by `torch.export` and read in order. Every tensor carries the group of channels that it holds; an
operation that treats channels one by one (activation, pooling, batch normalisation, depthwise convolution, a gate that
multiplies) hands the group on, a dense convolution or linear layer ends one group and begins the next. Whatever is not
known to treat channels one by one, and whatever joins a residual stream, fixes the groups that reach it. Groups that
nothing has fixed can shrink: their producers, followers and consumers are known to the last one.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from edgekd.errors import BadInput
from edgekd.students.macs import DENSE
from edgekd.students.widths import ChannelGroup, Member, rounding

# fmt: off
ELEMENTWISE = (
    "relu", "relu6", "hardtanh", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "gelu", "elu", "selu", "celu",
    "leaky_relu", "mish", "softplus", "clamp", "clamp_min", "clamp_max", "abs", "neg", "square", "sqrt", "exp", "pow",
    "dropout", "feature_dropout", "alpha_dropout", "clone", "contiguous", "detach", "alias", "to", "_to_copy",
)
POOLING = (
    "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
    "adaptive_max_pool2d", "upsample_nearest2d", "upsample_bilinear2d",
)
NO_DATA = ("sym_size", "_assert_tensor_metadata", "_assert_scalar")
# fmt: on


@dataclass
class _Trace:
    """What is known while the graph is read: per tensor its group and the dimension that holds the channels."""

    layers: dict[str, nn.Module]
    names: dict[fx.Node, str]
    tied: frozenset[int]
    at: dict[fx.Node, tuple[int, int]] = field(default_factory=dict)
    parent: list[int] = field(default_factory=list)
    width: list[int] = field(default_factory=list)
    fixed: list[bool] = field(default_factory=list)
    members: list[list[Member]] = field(default_factory=list)

    def begin(self, width: int, member: Member) -> int:
        self.parent.append(len(self.parent))
        self.width.append(width)
        self.fixed.append(False)
        self.members.append([member])
        return len(self.parent) - 1

    def find(self, group: int) -> int:
        while self.parent[group] != group:
            group = self.parent[group]
        return group

    def join(self, first: int, second: int) -> int:
        first, second = sorted((self.find(first), self.find(second)))
        if first != second:
            self.parent[second] = first
            self.fixed[first] |= self.fixed[second] or self.width[first] != self.width[second]
            self.members[first] += self.members[second]
        return first

    def fix(self, node: fx.Node) -> None:
        if node in self.at:
            self.fixed[self.find(self.at[node][0])] = True

    def add(self, node: fx.Node, member: Member) -> None:
        self.members[self.find(self.at[node][0])].append(member)


def channel_groups(module: nn.Module, example: Tensor) -> tuple[ChannelGroup, ...]:
    """Return the groups of channels that may shrink, in the order in which they are produced.

    `module` is in evaluation mode; `example` is one input `(batch, ...)`. Raises BadInput where the module cannot be
    traced.
    """
    try:
        with torch.no_grad():
            program = torch.export.export(module, (example,), strict=False)
    except Exception as error:
        raise BadInput(
            f"the teacher cannot be traced by torch.export, so it cannot be pruned ({type(error).__name__}); "
            "choose a student with --student timm:NAME or --student file.py:build"
        ) from error
    signature = program.graph_signature
    weights = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    names = {node: weights[node.name] for node in program.graph.nodes if node.name in weights}
    layers = dict(module.named_modules())
    trace = _Trace(layers, names, _tied(layers.values()))
    for node in program.graph.nodes:
        if node.op == "output":
            _fix_inputs(trace, node)
        elif node.op == "call_function":
            READERS.get(_operator(node), _fix_inputs)(trace, node)
    roots = (group for group, parent in enumerate(trace.parent) if group == parent and not trace.fixed[group])
    found = ((trace.width[group], tuple(dict.fromkeys(trace.members[group]))) for group in roots)
    return tuple(
        ChannelGroup(width, rounding(width), members)
        for width, members in found
        if any(member.role == "in" for member in members)
    )


def _operator(node: fx.Node) -> str:
    name = str(node.target.name()) if isinstance(node.target, torch._ops.OpOverload) else str(node.target)  # type: ignore[no-untyped-call]
    return name.removeprefix("aten::").partition(".")[0].removesuffix("_")


def _shape(node: Any) -> tuple[int, ...]:
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return tuple(int(size) for size in value.shape) if isinstance(value, Tensor) else ()


def _owner(trace: _Trace, node: Any, parameter: str, kinds: tuple[type[nn.Module], ...]) -> str | None:
    """Return the layer whose `parameter` this node reads, if it is of these kinds and used nowhere else."""
    if not isinstance(node, fx.Node) or node not in trace.names or len(node.users) != 1:
        return None
    layer, _, name = trace.names[node].rpartition(".")
    module = trace.layers.get(layer)
    plain = not hasattr(module, "parametrizations") and not getattr(module, "_forward_pre_hooks", None)
    tied = id(getattr(module, name, None)) in trace.tied
    return layer if isinstance(module, kinds) and name == parameter and plain and not tied else None


def _tied(layers: Iterable[nn.Module]) -> frozenset[int]:
    """Return the identities of tensors that two layers share, as tied embeddings do."""
    owned = Counter(id(tensor) for layer in layers for tensor in (*layer.parameters(False), *layer.buffers(False)))
    return frozenset(tensor for tensor, owners in owned.items() if owners > 1)


def _input(node: fx.Node) -> fx.Node:
    return cast(fx.Node, node.args[0])


def _fix_inputs(trace: _Trace, node: fx.Node) -> None:
    for source in node.all_input_nodes:
        trace.fix(source)


def _pass_on(trace: _Trace, node: fx.Node) -> None:
    """One input, channels untouched: the output holds the same group in the same dimension."""
    sources = [source for source in node.all_input_nodes if source in trace.at]
    if len(sources) == 1 and len(node.all_input_nodes) == 1:
        trace.at[node] = trace.at[sources[0]]
    else:
        _fix_inputs(trace, node)


def _pool(trace: _Trace, node: fx.Node) -> None:
    """Pooling and resizing act on the dimensions behind the channels, so the channels must be dimension 1 of 3 or 4."""
    source = _input(node)
    if source in trace.at and trace.at[source][1] == 1 and len(_shape(source)) == len(_shape(node)) >= 3:
        trace.at[node] = trace.at[source]
    else:
        _fix_inputs(trace, node)


def _mean(trace: _Trace, node: fx.Node) -> None:
    source = _input(node)
    dims = node.args[1] if len(node.args) > 1 else None
    rank = len(_shape(source))
    reduced = [int(dim) % rank for dim in dims] if isinstance(dims, (list, tuple)) else []
    if source in trace.at and reduced and trace.at[source][1] < min(reduced):
        trace.at[node] = trace.at[source]
    else:
        _fix_inputs(trace, node)


def _pad(trace: _Trace, node: fx.Node) -> None:
    source, padding = _input(node), node.args[1]
    behind = len(_shape(source)) - 1 - trace.at[source][1] if source in trace.at else -1
    if isinstance(padding, (list, tuple)) and len(padding) <= 2 * behind:
        trace.at[node] = trace.at[source]
    else:
        _fix_inputs(trace, node)


def _flatten(trace: _Trace, node: fx.Node) -> None:
    """Flattening from the channels on: each channel becomes consecutive features, counted where they are consumed."""
    source = _input(node)
    start = node.args[1] if len(node.args) > 1 else 0
    end = node.args[2] if len(node.args) > 2 else -1
    if source in trace.at and start == trace.at[source][1] == 1 and end in (-1, len(_shape(source)) - 1):
        trace.at[node] = trace.at[source]
    else:
        _fix_inputs(trace, node)


def _gate(trace: _Trace, node: fx.Node) -> None:
    """A product of two tensors of the same channels, as in squeeze-and-excitation, couples their groups."""
    left, right = (node.args[0], node.args[1])
    if not isinstance(left, fx.Node) or not isinstance(right, fx.Node):
        _pass_on(trace, node)
    elif left in trace.at and right in trace.at and len(_shape(left)) == len(_shape(right)):
        (first, dim), (second, other) = trace.at[left], trace.at[right]
        if dim == other and _shape(left)[dim] == _shape(right)[dim] == trace.width[trace.find(first)]:
            trace.at[node] = (trace.join(first, second), dim)
        else:
            _fix_inputs(trace, node)
    else:
        _fix_inputs(trace, node)


def _residual(trace: _Trace, node: fx.Node) -> None:
    """A sum of two tensors is a residual stream, which stays as wide as it is; a scalar changes nothing."""
    _pass_on(trace, node) if len(node.all_input_nodes) == 1 else _fix_inputs(trace, node)


def _batch_norm(trace: _Trace, node: fx.Node) -> None:
    source = _input(node)
    layer = _owner(trace, node.args[3], "running_mean", (nn.modules.batchnorm._BatchNorm,))
    group, dim = trace.at.get(source, (-1, -1))
    if layer is not None and dim == 1 and _shape(source)[1] == trace.width[trace.find(group)]:
        trace.add(source, Member(layer, "through"))
        trace.at[node] = trace.at[source]
    else:
        _fix_inputs(trace, node)


def _dense(trace: _Trace, node: fx.Node) -> None:
    """A convolution or linear layer: consumes the group that reaches it and begins one of its own."""
    source, weight = _input(node), node.args[1]
    layer = _owner(trace, weight, "weight", DENSE)
    if layer is None:
        return _fix_inputs(trace, node)
    module = trace.layers[layer]
    linear = isinstance(module, nn.Linear)
    dim = len(_shape(node)) - 1 if linear else 1
    out, into = _shape(weight)[:2]
    if getattr(module, "groups", 1) > 1:
        return _depthwise(trace, node, layer, out if into == 1 and out == module.groups else 0)
    if source in trace.at:
        group, where = trace.at[source]
        width = trace.width[trace.find(group)]
        flattened = into // width if linear and where == 1 and len(_shape(source)) == 2 else 1
        if where == dim and width * flattened == into:
            trace.add(source, Member(layer, "in", flattened))
        else:
            trace.fix(source)
    trace.at[node] = (trace.begin(out, Member(layer, "out")), dim)


def _depthwise(trace: _Trace, node: fx.Node, layer: str, width: int) -> None:
    source = _input(node)
    if source in trace.at and trace.width[trace.find(trace.at[source][0])] == width:
        trace.add(source, Member(layer, "through"))
        trace.at[node] = trace.at[source]
    else:
        _fix_inputs(trace, node)


READERS: dict[str, Callable[[_Trace, fx.Node], None]] = {
    **dict.fromkeys(ELEMENTWISE, _pass_on),
    **dict.fromkeys(POOLING, _pool),
    **dict.fromkeys(NO_DATA, lambda trace, node: None),
    "mean": _mean,
    "pad": _pad,
    "constant_pad_nd": _pad,
    "flatten": _flatten,
    "mul": _gate,
    "add": _residual,
    "sub": _residual,
    "div": _residual,
    "batch_norm": _batch_norm,
    "conv1d": _dense,
    "conv2d": _dense,
    "conv3d": _dense,
    "linear": _dense,
}
