"""An exported program made a module again: real layers that train, prune and export, under their original names."""

import operator
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, InputSpec, OutputKind
from torch.fx.node import map_arg

from edgekd.errors import BadInput
from edgekd.formats.rebuild_layers import LAYERS, Call
from edgekd.formats.zip_members import shown

LIFTED = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)
TRAINING_FLAGS = {"batch_norm.default": "training", "dropout.default": "train", "feature_dropout.default": "train"}
PLAIN_PATH = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


@dataclass
class _Draft:
    """The module being rebuilt: its graph so far, and what became of each node of the program."""

    root: nn.Module
    graph: fx.Graph
    tensors: dict[fx.Node, torch.Tensor]
    paths: dict[fx.Node, str]
    became: dict[fx.Node, Any] = field(default_factory=dict)
    aliases: dict[fx.Node, list[fx.Node]] = field(default_factory=dict)
    layers: dict[tuple[Any, ...], str] = field(default_factory=dict)


def rebuild(path: Path, program: ExportedProgram) -> fx.GraphModule:
    """Turn a program's flat graph into a module with real layers, in eval mode.

    Parameters used at two places stay one parameter; in-place operators become their functional twins. `program` is
    changed: what it computes is switched to eval mode, so that it can be compared with the result.

    Raises:
        BadInput: the program takes or changes something that a plain forward pass does not.
    """
    if _writes_through_views(program.graph):
        program = program.run_decompositions({})
    draft = _start(path, program)
    outputs = [s.arg.name for s in program.graph_signature.output_specs if s.kind is OutputKind.USER_OUTPUT]
    for node in program.graph.nodes:
        if node.op == "call_function":
            _convert(path, draft, node)
    names = {node.name: node for node in program.graph.nodes}
    results = [_value(draft, names[name]) for name in outputs if name in names]
    if not results:
        raise BadInput(f"{path}: the program returns no tensor; export a model that returns its logits")
    draft.graph.output(results[0] if len(results) == 1 else tuple(results))
    module = fx.GraphModule(draft.root, draft.graph)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()
    return module.eval()


def evaluate_only(program: ExportedProgram) -> bool:
    """Switch a program that was exported in training mode to eval mode, in place; tell whether it had been."""
    changed = False
    for node in program.graph.nodes:
        flag = TRAINING_FLAGS.get(_name(node).replace("_.", "."))
        if flag is None:
            continue
        arguments = _arguments(node)
        if arguments[flag] and arguments.get("running_mean", flag) is not None:
            node.args, node.kwargs = tuple((arguments | {flag: False}).values()), {}
            changed = True
    program.graph_module.recompile()
    return changed


def _start(path: Path, program: ExportedProgram) -> _Draft:
    """Placeholders: user inputs stay, lifted parameters and buffers are looked up by their original names."""
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs if hasattr(spec.arg, "name")}
    draft = _Draft(nn.Module(), fx.Graph(), {}, {})
    same: dict[tuple[Any, ...], torch.Tensor] = {}
    for node in program.graph.nodes:
        if node.op != "placeholder":
            continue
        spec = specs.get(node.name)
        if spec is not None and spec.kind in LIFTED:
            tensor = _stored(path, program, spec)
            place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
            draft.tensors[node] = same.setdefault(place, tensor) if tensor.numel() else tensor
            draft.paths[node] = str(spec.target)
        elif spec is not None and spec.kind is InputKind.USER_INPUT:
            constant = isinstance(spec.arg, ConstantArgument)
            draft.became[node] = spec.arg.value if constant else draft.graph.placeholder(node.name)
        else:
            raise BadInput(f"{path}: the program takes {shown(node.name)}, which is no tensor; export tensors only")
    return draft


def _stored(path: Path, program: ExportedProgram, spec: InputSpec) -> torch.Tensor:
    value = program.state_dict.get(str(spec.target), program.constants.get(str(spec.target)))
    if not isinstance(value, torch.Tensor):
        raise BadInput(f"{path}: the weight {shown(spec.target)} is missing; export the model again")
    value = value.detach()
    value = value.float() if value.is_floating_point() else value
    return nn.Parameter(value) if spec.kind is InputKind.PARAMETER and value.is_floating_point() else value


def _convert(path: Path, draft: _Draft, node: fx.Node) -> None:
    """Add what one call becomes: a layer, or the same operator in its functional form."""
    if node.target is operator.getitem and isinstance(node.args[0], fx.Node):
        source = draft.became.get(node.args[0])
        if isinstance(source, fx.Node) and source.op == "call_module" and node.args[1] == 0:
            draft.became[node] = source
            return
    target, mutates = _functional(path, node)
    if mutates and node.args and node.args[0] in draft.tensors:
        return  # counts batches or updates statistics, which the rebuilt layer does itself
    layer = _layer(draft, node)
    if layer is not None:
        first = next(iter(_arguments(node).values()))
        created = draft.graph.call_module(layer, (_value(draft, first),))
    else:
        arguments = map_arg((node.args, node.kwargs), lambda argument: _value(draft, argument))
        created = draft.graph.call_function(target, *arguments)
    draft.became[node] = created
    if mutates and isinstance(node.args[0], fx.Node):
        # Whoever reads the changed tensor later, under any of its names, must see the change.
        group = [*draft.aliases.get(node.args[0], [node.args[0]]), node]
        for member in group:
            draft.became[member], draft.aliases[member] = created, group


def _value(draft: _Draft, argument: Any) -> Any:
    """The new graph's value for a node of the program; parameters and buffers are registered on first use."""
    if not isinstance(argument, fx.Node):
        return argument
    if argument not in draft.became:
        owner, name = _place(draft.root, draft.paths[argument])
        tensor = draft.tensors[argument]
        if isinstance(tensor, nn.Parameter):
            owner.register_parameter(name.rpartition(".")[2], tensor)
        else:
            owner.register_buffer(name.rpartition(".")[2], tensor)
        draft.became[argument] = draft.graph.get_attr(name)
    return draft.became[argument]


def _layer(draft: _Draft, node: fx.Node) -> str | None:
    """The path of the layer that a call becomes, new or (for shared weights) the one that is there; None: no layer."""
    name = _name(node)
    build = LAYERS.get(name) or LAYERS.get(name.replace("_.", "."))
    if build is None:
        return None
    arguments = _arguments(node)
    module = build(Call(arguments, draft.tensors))
    if module is None:
        return None
    weight = arguments.get("weight")
    weight = weight if isinstance(weight, fx.Node) else arguments.get("running_mean")
    if not isinstance(weight, fx.Node) or weight not in draft.paths:
        return _register(draft, module, _module_path(node))
    first = next(iter(arguments))
    key = (name, *(str(value) for key, value in arguments.items() if key != first))
    if key not in draft.layers:
        owner, _, leaf = draft.paths[weight].rpartition(".")
        draft.layers[key] = _register(
            draft, module, owner if owner and leaf in ("weight", "running_mean") else _module_path(node)
        )
    return draft.layers[key]


def _register(draft: _Draft, module: nn.Module, path: str) -> str:
    owner, name = _place(draft.root, path)
    owner.add_module(name.rpartition(".")[2], module)
    return name


def _place(root: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The module that owns `path`, made where it is missing, and a free path: its own, or with a number behind it."""
    *parents, leaf = path.split(".")
    owner = root
    for part in parents:
        if not isinstance(getattr(owner, part, None), nn.Module):
            owner.add_module(part, nn.Module())
        owner = getattr(owner, part)
    free, count = leaf, 0
    while hasattr(owner, free) or free in owner._modules:
        count += 1
        free = f"{leaf}_{count}"
    return owner, ".".join([*parents, free])


def _module_path(node: fx.Node) -> str:
    """Where the call stood in the original model: the module's own path, or its parent's with the call's name."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path, kind = (str(part) for part in stack[-1][:2]) if stack else ("", "")
    path = path.removeprefix("L['self'].")
    if not PLAIN_PATH.fullmatch(path):
        return str(node.name)
    return path if kind.startswith("torch.nn.modules.") else f"{path}.{node.name}"


def _name(node: fx.Node) -> str:
    return str(node.target).removeprefix("aten.") if isinstance(node.target, torch._ops.OpOverload) else ""


def _arguments(node: fx.Node) -> dict[str, Any]:
    """The call's arguments by schema name, defaults filled in."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    given = dict(zip((argument.name for argument in schema), node.args, strict=False)) | dict(node.kwargs)
    return {
        argument.name: given.get(argument.name, argument.default_value if argument.has_default_value() else None)
        for argument in schema
    }


def _functional(path: Path, node: fx.Node) -> tuple[Any, bool]:
    """The operator that computes the same without changing its input, and whether the call did change it."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or not target._schema.is_mutable:
        return target, False
    name, _, overload = _name(node).partition(".")
    twin = (
        getattr(getattr(torch.ops.aten, name.removesuffix("_"), None), overload, None) if name.endswith("_") else None
    )
    if twin is None:
        raise BadInput(f"{path}: {shown(node.name)} ({shown(name)}) changes its input in place; write it without that")
    return twin, True


def _writes_through_views(graph: fx.Graph) -> bool:
    """Tell whether an in-place operator reaches a tensor under another name: a slice written to, or a view kept."""
    seen: set[fx.Node] = set()
    for node in graph.nodes:
        seen.add(node)
        if not isinstance(node.target, torch._ops.OpOverload) or not node.target._schema.is_mutable:
            continue
        changed = node.args[0] if node.args else None
        if isinstance(changed, fx.Node) and changed.op == "call_function":
            views = [user for user in changed.users if user in seen and user is not node and _is_view(user)]
            if _is_view(changed) or views:
                return True
    return False


def _is_view(node: fx.Node) -> bool:
    if not isinstance(node.target, torch._ops.OpOverload):
        return node.target is operator.getitem
    returns = node.target._schema.returns
    return bool(returns) and returns[0].alias_info is not None and not returns[0].alias_info.is_write
