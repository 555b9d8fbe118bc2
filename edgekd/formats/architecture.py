"""Architectures by name, `timm:NAME` or `torchvision:NAME`, or by code, `file.py:build`. Nothing is downloaded."""

import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import timm
import torchvision
from torch import nn

from edgekd.errors import BadInput, EdgekdError, UsageError, did_you_mean

FORMS = "timm:NAME, torchvision:NAME or file.py:build"


def build_architecture(spec: str, *, num_classes: int | None = None) -> nn.Module:
    """Build the module that `spec` names, with fresh random weights.

    Args:
        spec: "timm:NAME", "torchvision:NAME" or "file.py:function"; the last colon splits.
        num_classes: outputs of the classifier; None keeps the architecture's own number. A user's function gets it as
            a keyword if it accepts one.

    Raises:
        UsageError: `spec` has none of these forms, or names an architecture that does not exist.
        BadInput: the user's file or function is missing, fails, or returns something else than an nn.Module.
    """
    kind, name = split_spec(spec)
    return BUILDERS[kind](name, num_classes)


def split_spec(spec: str) -> tuple[str, str]:
    """Return ("timm" | "torchvision", NAME) or ("file", "path.py:function").

    Raises:
        UsageError: none of the three forms.
    """
    head, colon, tail = spec.rpartition(":")
    if colon and tail and head in ("timm", "torchvision"):
        return head, tail
    if colon and tail.isidentifier() and head.endswith(".py"):
        return "file", spec
    raise UsageError(f"architecture {spec!r} is not of the form {FORMS}")


def architecture_metadata(spec: str) -> dict[str, Any]:
    """Return what timm's pretrained configuration says about inputs: mean, std, input_size (channels, height, width),
    interpolation, crop_pct. Empty for other architectures.

    Raises:
        UsageError: unknown form or timm name.
    """
    kind, name = split_spec(spec)
    if kind != "timm":
        return {}
    _known_timm(name)
    config = timm.get_pretrained_cfg(name, allow_unregistered=False)
    if config is None:
        return {}
    found = {key: getattr(config, key, None) for key in ("mean", "std", "input_size", "interpolation", "crop_pct")}
    return {key: value for key, value in found.items() if value is not None}


def accepts_num_classes(function: Callable[..., Any]) -> bool:
    """Tell whether a function can be called with the keyword `num_classes`."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(
        parameter.kind is parameter.VAR_KEYWORD
        or (parameter.name == "num_classes" and parameter.kind is not parameter.POSITIONAL_ONLY)
        for parameter in parameters
    )


def _known_timm(name: str) -> None:
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise UsageError(f"timm has no architecture {name!r}{_hint(name, known)}")


def _hint(name: str, known: list[str]) -> str:
    hint = did_you_mean(name, known)
    return (
        hint if "did you mean" in hint else "; look it up with timm.list_models() or torchvision.models.list_models()"
    )


def _build_timm(name: str, num_classes: int | None) -> nn.Module:
    _known_timm(name)
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    module: nn.Module = timm.create_model(name, pretrained=False, **options)
    return module


def _build_torchvision(name: str, num_classes: int | None) -> nn.Module:
    known = torchvision.models.list_models()
    if name not in known:
        raise UsageError(f"torchvision has no architecture {name!r}{_hint(name, known)}")
    options: dict[str, Any] = {"weights": None}
    options |= {} if num_classes is None else {"num_classes": num_classes}
    builder = torchvision.models.get_model_builder(name)
    options |= {key: value for key, value in _QUIET_DEFAULTS.items() if key in inspect.signature(builder).parameters}
    module: nn.Module = builder(**options)
    return module


_QUIET_DEFAULTS = {"weights_backbone": None, "aux_logits": False, "init_weights": True}
"""Options of some torchvision builders whose own default downloads weights, adds outputs or warns."""


def _build_from_file(spec: str, num_classes: int | None) -> nn.Module:
    function = load_function(spec)
    options = {"num_classes": num_classes} if num_classes is not None and accepts_num_classes(function) else {}
    module = call_user_code(spec, lambda: function(**options))
    if not isinstance(module, nn.Module):
        raise BadInput(f"{spec} returned {type(module).__name__}; it must return a torch.nn.Module")
    return module


def load_function(spec: str) -> Callable[..., Any]:
    """Run a user's Python file as a module of its own and return the function that `file.py:function` names.

    Raises:
        BadInput: no such file or function, or the file's own code fails.
    """
    name, _, attribute = spec.rpartition(":")
    path = Path(name)
    if not path.is_file():
        raise BadInput(f"{path}: no such file (from {spec!r})")
    module = call_user_code(spec, lambda: _run_file(path))
    function = getattr(module, attribute, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise BadInput(f"{path} has no function {attribute!r}{did_you_mean(attribute, known) if known else ''}")
    return function  # type: ignore[no-any-return]


def _run_file(path: Path) -> ModuleType:
    """Import by path, with the file's folder first on sys.path while it runs, so that it finds its neighbours."""
    module = ModuleType(f"edgekd_user_{path.stem}")
    module.__file__ = str(path.resolve())
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def call_user_code(spec: str, call: Callable[[], Any]) -> Any:
    """Call into a user's file; whatever it raises becomes one sentence with the file and line it came from.

    Raises:
        BadInput: the code failed.
    """
    path = spec.rpartition(":")[0]
    try:
        return call()
    except EdgekdError:
        raise
    except SyntaxError as error:
        raise BadInput(f"{error.filename or path}:{error.lineno or 1}: {error.msg}; mend the file") from error
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        where = f"{path}:{lines[-1]}" if lines else path
        message = (str(error).strip().splitlines() or [""])[0][:300]
        raise BadInput(f"{where}: {type(error).__name__}: {message}; mend the file ({spec})") from error


BUILDERS: dict[str, Callable[[str, int | None], nn.Module]] = {
    "timm": _build_timm,
    "torchvision": _build_torchvision,
    "file": _build_from_file,
}
