"""Programs exported with one fixed batch size, made to take any."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.node import map_arg

from edgekd.errors import BadInput
from edgekd.formats.quiet import quiet_torch
from edgekd.formats.zip_members import shown

aten = torch.ops.aten
VIEWS = (aten.view.default, aten.reshape.default, aten._unsafe_view.default)
CREATORS = (aten.zeros.default, aten.ones.default, aten.full.default, aten.new_zeros.default, aten.repeat.default)


def free_batch(path: Path, module: fx.GraphModule, inputs: tuple[torch.Tensor, ...]) -> None:
    """Replace the batch size that an export wrote into `module`'s graph by the batch size of its input, in place.

    Shapes are followed through the graph at the exported batch size and at another one; where a reshape fixes the
    dimension that carries the batch, that dimension is left open. Whether it worked is for a probe to say.

    Args:
        path: the file, for messages.
        module: the rebuilt program.
        inputs: example inputs (batch, ...), as exported.

    Raises:
        BadInput: some operator cannot take another batch size.
    """
    batch = int(inputs[0].shape[0])
    other = batch + 2
    with quiet_torch(), FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
        given = [mode.from_tensor(value) for value in inputs]
        larger = [_resized(mode, value, batch, other) for value in inputs]
        values: dict[fx.Node, tuple[Any, Any]] = {}
        queue = list(zip(given, larger, strict=True))
        for node in list(module.graph.nodes):
            if node.op == "placeholder":
                values[node] = queue.pop(0)
            elif node.op != "output":
                values[node] = _follow(path, module, node, values, batch)
    module.graph.lint()
    module.recompile()


def frozen_batch(path: Path, name: str, why: str) -> BadInput:
    """The error that names the export line which mends a frozen batch size."""
    mend = f'torch.export.export(model, (x,), dynamic_shapes={{"{name}": {{0: torch.export.Dim("batch")}}}})'
    return BadInput(f"{path}: the batch size is frozen in this export ({why}); export it again with {mend}")


def _resized(mode: FakeTensorMode, value: torch.Tensor, batch: int, other: int) -> torch.Tensor:
    shape = (other, *value.shape[1:]) if value.ndim and value.shape[0] == batch else tuple(value.shape)
    return mode.from_tensor(torch.empty(shape, dtype=value.dtype, device="meta")).to("cpu")


def _follow(
    path: Path, module: fx.GraphModule, node: fx.Node, values: dict[fx.Node, tuple[Any, Any]], batch: int
) -> tuple[Any, Any]:
    """Compute one node's shapes at both batch sizes, after mending its literal sizes."""
    if node.op == "get_attr":
        value = _attribute(module, str(node.target))
        return value, value
    if node.target in VIEWS:
        _free_view(node, values, batch)
    elif node.target is aten.expand.default:
        _free_expand(node, values, batch)
    elif node.target in CREATORS:
        _free_creation(node, values, batch)
    elif node.target is aten.cat.default:
        _free_cat(node, values)
    results = []
    for side in (0, 1):
        arguments: Any = map_arg((node.args, node.kwargs), lambda argument: values[argument][side])  # noqa: B023
        try:
            call: Any = _attribute(module, str(node.target)) if node.op == "call_module" else node.target
            results.append(call(*arguments[0], **arguments[1]))
        except Exception as error:  # every operator fails with its own kind of exception
            first = next(n for n in module.graph.nodes if n.op == "placeholder")
            raise frozen_batch(path, first.name, f"at {shown(node.name)}") from error
    return results[0], results[1]


def _attribute(module: Any, target: str) -> Any:
    for part in target.split("."):
        module = getattr(module, part)
    return module


def _batch_axis(pair: tuple[Any, Any]) -> int | None:
    """The one dimension in which a tensor's shape differs between the two batch sizes; None: none, or several."""
    small, large = (value.shape for value in pair)
    axes = [axis for axis, (one, two) in enumerate(zip(small, large, strict=False)) if one != two]
    return axes[0] if len(axes) == 1 and len(small) == len(large) else None


def _literal(sizes: Any) -> bool:
    return isinstance(sizes, (list, tuple)) and all(isinstance(size, int) for size in sizes)


def _free_view(node: fx.Node, values: dict[fx.Node, tuple[Any, Any]], batch: int) -> None:
    """Leave the dimension that carries the batch to be inferred (-1), and write out the one that was."""
    given: Any = node.args
    source, sizes = given[:2]
    axis = _batch_axis(values[source]) if isinstance(source, fx.Node) else None
    if axis is None or not _literal(sizes):
        return
    shape = tuple(values[source][0].shape)
    known = math.prod(size for size in sizes if size != -1)
    result = [math.prod(shape) // known if size == -1 else size for size in sizes] if known else list(sizes)
    before, extent = math.prod(shape[:axis]), shape[axis]
    place = _carrier(result, before=before, extent=extent, batch=batch)
    if place is not None:
        node.args = (source, [-1 if index == place else size for index, size in enumerate(result)])


def _carrier(sizes: list[int], *, before: int, extent: int, batch: int) -> int | None:
    """The dimension of a reshape that grows with a source dimension of `extent` which `before` elements precede.

    Where that dimension holds more than the batch (sequence x batch) and is split, the batch goes where it is alone.
    """
    ahead = [math.prod(sizes[:place]) for place in range(len(sizes))]
    alone = [
        place
        for place, size in enumerate(sizes)
        if extent > batch and size == batch and before < ahead[place] <= before * extent
    ]
    whole = [
        place
        for place, size in enumerate(sizes)
        if 0 < ahead[place] <= before and before % ahead[place] == 0 and ahead[place] * size >= before * extent
    ]
    return next(iter([*(place for place in alone if ahead[place] * batch <= before * extent), *whole]), None)


def _free_expand(node: fx.Node, values: dict[fx.Node, tuple[Any, Any]], batch: int) -> None:
    """Keep the batch dimension of what is expanded; a constant expanded to the exported batch follows the input."""
    given: Any = node.args
    source, sizes = given[:2]
    if not isinstance(source, fx.Node) or not _literal(sizes):
        return
    axis = _batch_axis(values[source])
    new = list(sizes)
    if axis is not None:
        new[axis + len(sizes) - values[source][0].ndim] = -1
    elif batch > 1 and sizes[0] == batch:
        new[0] = _input_batch(node, values)
    node.args = (source, new)


def _free_creation(node: fx.Node, values: dict[fx.Node, tuple[Any, Any]], batch: int) -> None:
    """A new tensor with the exported batch as its first dimension follows the input; one of batch 1 broadcasts."""
    place = 1 if node.target in (aten.new_zeros.default, aten.repeat.default) else 0
    sizes = node.args[place]
    if batch > 1 and isinstance(sizes, (list, tuple)) and _literal(sizes) and sizes and sizes[0] == batch:
        arguments = list(node.args)
        arguments[place] = [_input_batch(node, values), *sizes[1:]]
        node.args = tuple(arguments)


def _free_cat(node: fx.Node, values: dict[fx.Node, tuple[Any, Any]]) -> None:
    """A constant of batch 1 (a class token) joined to batched tensors is repeated for each of them."""
    parts = node.args[0]
    if not isinstance(parts, (list, tuple)):
        return
    lengths = {values[part][1].shape[0] for part in parts if isinstance(part, fx.Node) and values[part][1].ndim}
    dimension = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    if dimension == 0 or len(lengths) != 2 or min(lengths) != 1:
        return
    new = []
    for part in parts:
        if isinstance(part, fx.Node) and values[part][1].shape[0] == 1:
            batch = _input_batch(node, values)
            with node.graph.inserting_before(node):
                rest = [-1] * (values[part][1].ndim - 1)
                expanded = node.graph.call_function(aten.expand.default, (part, [batch, *rest]))
            small, large = values[part]
            values[expanded] = (small, large.expand(max(lengths), *large.shape[1:]))
            part = expanded
        new.append(part)
    node.args = (new, *node.args[1:])


def _input_batch(node: fx.Node, values: dict[fx.Node, tuple[Any, Any]]) -> fx.Node:
    """A node that reads the first input's batch size while the model runs."""
    first = next(n for n in node.graph.nodes if n.op == "placeholder")
    with node.graph.inserting_before(node):
        created = node.graph.call_function(aten.sym_size.int, (first, 0))
    small, large = values[first]
    values[created] = (small.shape[0], large.shape[0])
    return created
