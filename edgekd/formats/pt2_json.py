"""The program inside a .pt2 archive, as JSON: which of it may be handed to torch's deserializer.

Pickles are not the only way in. torch's deserializer evaluates shape expressions (sympy.sympify is eval), resolves call
targets by attribute lookup from `torch` (torch.os.system is one), imports the modules that tree specs name, and writes
node names and guards into Python source that is executed. So everything here is allowed by name or refused.
"""

import ast
import json
import keyword
import re
from pathlib import Path
from typing import Any

from edgekd.errors import BadInput
from edgekd.formats.zip_members import shown

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,999}")
PATH_NAME = re.compile(r"[A-Za-z0-9_.\-]{0,1000}")
"""Parameter and module paths, as layer1.0.conv1.weight: no quotes or line breaks, so no way out of generated code."""
MODULE_STACK = re.compile(r"[A-Za-z0-9_.,;@\-\[\]'() <>]{0,20000}")

ATEN = re.compile(r"torch\.ops\.aten\.(?!__init|__class|__getattr)([A-Za-z_][A-Za-z0-9_]*)\.([A-Za-z][A-Za-z0-9_]*)")
ASSERTIONS = frozenset(
    {f"torch.ops.aten.{name}" for name in ("_assert_scalar.default", "_assert_async.msg", "_assert_async.default")}
    | {"torch.ops.aten._assert_tensor_metadata.default", "torch.ops.aten.sym_constrain_range.default"}
    | {"torch.ops.aten.sym_constrain_range_for_size.default"}
)
"""Checks of the exported shapes; they return nothing, and would forbid other batch sizes."""
SCALAR_CALLS = frozenset(
    {f"_operator.{name}" for name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "getitem")}
    | {f"_operator.{name}" for name in ("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_")}
    | {f"math.{name}" for name in ("ceil", "floor", "trunc")}
    | {f"torch.sym_{name}" for name in ("int", "float", "max", "min", "not", "ite", "sum")}
)
"""Calls on sizes that torch.export writes beside aten operators."""
TEXT_ARGUMENTS = frozenset(
    {"approximate", "equation", "indexing", "interpolation", "mode", "ord", "padding", "pad_mode", "reduce"}
    | {"rounding_mode", "side"}
)
"""aten arguments that are strings and do no more than choose a formula; a file name is never among them."""
EXPRESSION_CALLS = frozenset(
    {"Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Max", "Min", "Mod", "PythonMod", "FloorDiv", "CleanDiv"}
    | {"CeilDiv", "CeilToInt", "FloorToInt", "TruncToInt", "RoundToInt", "IntTrueDiv", "FloatTrueDiv", "ToFloat"}
    | {"ModularIndexing", "Where", "Identity", "TruncToFloat"}
    | {"Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "Equality", "Unequality", "LessThan", "GreaterThan"}
    | {"StrictLessThan", "StrictGreaterThan"}
)
EXPRESSION_NODES = (
    *(ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.UnaryOp, ast.USub, ast.Not),
    *(ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Compare, ast.Eq, ast.NotEq),
    *(ast.Lt, ast.LtE, ast.Gt, ast.GtE),
)
SYMBOL = re.compile(r"[suz][a-z]*[0-9]+|[a-z_]{1,40}[0-9]*|int_oo|oo|True|False")
TREE_TYPES = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})
REFUSED_ARGUMENTS = {
    "as_graph": "a higher-order operator (cond, autocast or no_grad inside forward)",
    "as_custom_obj": "a custom object",
    "as_operator": "an operator passed as a value",
    "as_string_to_argument": "a dictionary argument",
}
MAX_DEPTH = 60


def checked_program(path: Path, content: bytes) -> dict[str, Any]:
    """Return the program with all that only describes it dropped, and everything else checked; devices become the CPU.

    Raises:
        BadInput: it calls something other than plain aten operators, or a name or expression in it is not plain.
    """
    try:
        program = json.loads(content, object_hook=_on_cpu)
        module = program["graph_module"]
        nodes = [node for node in module["graph"]["nodes"] if node["target"] not in ASSERTIONS]
        module["graph"]["nodes"] = [_checked_node(path, node) for node in nodes]
        module["module_call_graph"] = [_checked_signature(path, entry) for entry in module["module_call_graph"][:1]]
        module |= {"metadata": {}, "treespec_namedtuple_fields": {}}
        kept = {key: program[key] for key in ("graph_module", "opset_version", "range_constraints", "schema_version")}
        kept["verifiers"] = program.get("verifiers", [])
        _check(path, kept, key="", depth=0)
    except BadInput:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"{path}: its program is damaged ({type(error).__name__} {shown(error)}); export it again"
        ) from error
    return {**kept, "torch_version": "", "guards_code": []}


def _on_cpu(value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "cpu", "index": None} if value.keys() == {"type", "index"} else value


def _checked_node(path: Path, node: dict[str, Any]) -> dict[str, Any]:
    """One call: an aten operator or arithmetic on sizes. Its metadata keep only the path of the module it came from."""
    target = node["target"]
    aten = ATEN.fullmatch(target) if isinstance(target, str) else None
    if aten is None and target not in SCALAR_CALLS:
        raise BadInput(
            f"{path}: the program calls {shown(target)}, which is not a plain aten operator; export the model in eval "
            f"mode, without custom operators, autocast or control flow, and save it again"
        )
    for argument in node["inputs"]:
        if "as_string" in argument["arg"] and argument["name"] not in TEXT_ARGUMENTS:
            raise BadInput(f"{path}: {shown(target)} gets a text as its argument {shown(argument['name'])}; refused")
    stack = node.get("metadata", {}).get("nn_module_stack", "")
    plain = (
        isinstance(stack, str) and MODULE_STACK.fullmatch(stack) and all(s.count(",") >= 2 for s in stack.split(";"))
    )
    return {**node, "metadata": {"nn_module_stack": stack} if stack and plain else {}}


def _checked_signature(path: Path, entry: dict[str, Any]) -> dict[str, Any]:
    signature = entry["signature"]
    for key in ("in_spec", "out_spec"):
        protocol, tree = json.loads(signature[key])
        _check_tree(path, tree, depth=0)
        signature[key] = json.dumps([int(protocol), tree])
    return {"fqn": "", "signature": signature}


def _check_tree(path: Path, tree: dict[str, Any], *, depth: int) -> None:
    """Inputs and outputs may be nested tuples, lists and dictionaries; torch imports whatever other types are named."""
    kind, context = tree["type"], tree["context"]
    if kind not in TREE_TYPES or depth > MAX_DEPTH:
        raise BadInput(
            f"{path}: an input or output is nested in {shown(kind)}; export a model that takes and returns tensors, or "
            f"tuples, lists and dictionaries of them"
        )
    keys = json.loads(context) if context else None
    if keys is not None and not (isinstance(keys, list) and all(_plain_key(key) for key in keys)):
        raise BadInput(f"{path}: the keys of an input or output are not plain names; rename them and export again")
    for child in tree["children_spec"]:
        _check_tree(path, child, depth=depth + 1)


def _plain_key(key: object) -> bool:
    return isinstance(key, int) or (isinstance(key, str) and PATH_NAME.fullmatch(key) is not None)


def _check(path: Path, value: Any, *, key: str, depth: int) -> None:
    """Refuse every key and text that is not of the form its place allows."""
    if depth > MAX_DEPTH:
        raise BadInput(f"{path}: its program is nested too deeply; export it again")
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in REFUSED_ARGUMENTS:
                raise BadInput(f"{path}: the program holds {REFUSED_ARGUMENTS[name]}; export a plain forward pass")
            _check_text(path, name, key="")
            _check(path, inner, key=name, depth=depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check(path, inner, key=key, depth=depth + 1)
    elif isinstance(value, str):
        _check_text(path, value, key=key)


def _check_text(path: Path, text: str, *, key: str) -> None:
    if key == "expr_str":
        _check_expression(path, text)
    elif key in ("name", "as_name", "forward_arg_names") and text:
        if not IDENTIFIER.fullmatch(text) or keyword.iskeyword(text):
            raise BadInput(f"{path}: the node name {shown(text)} is no identifier; export the model again")
    elif key in ("in_spec", "out_spec", "nn_module_stack", "target"):
        return  # checked where they lie
    elif key == "as_string":
        if len(text) > 500 or not text.isprintable():
            raise BadInput(f"{path}: the text argument {shown(text)} is not plain; export the model again")
    elif not PATH_NAME.fullmatch(text):
        raise BadInput(
            f"{path}: the name {shown(text)} in its program is not plain; rename the module and export again"
        )


def _check_expression(path: Path, text: str) -> None:
    """A size: symbols, numbers, arithmetic and comparisons; torch evaluates the text as Python."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval"))) if len(text) <= 10_000 else [ast.Module([], [])]
    except (SyntaxError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: the size expression {shown(text)} is damaged; export the model again") from error
    calls = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        good = isinstance(node, EXPRESSION_NODES)
        if isinstance(node, ast.Call):
            good = isinstance(node.func, ast.Name)
        elif isinstance(node, ast.Name):
            good = node.id in EXPRESSION_CALLS if id(node) in calls else SYMBOL.fullmatch(node.id) is not None
        elif isinstance(node, ast.Constant):
            good = _plain_constant(node.value)
        if not good:
            raise BadInput(f"{path}: the size expression {shown(text)} is not plain arithmetic; export the model again")


def _plain_constant(value: object) -> bool:
    if isinstance(value, str):
        return SYMBOL.fullmatch(value) is not None
    return isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 2**63)
