"""State dicts: weights without their program, so an architecture is needed beside them."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from edgekd.errors import BadInput, reason_of
from edgekd.formats.architecture import build_architecture
from edgekd.formats.identify import FileKind
from edgekd.formats.zip_members import open_archive, shown

WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "ema",
    "state_dict_ema",
    "weights",
    "params",
)
"""Keys under which training scripts keep the weights, in the order they are looked for."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "backbone.", "network.", "encoder.")
"""Prefixes that wrappers (DataParallel, torch.compile, Lightning) put before every key."""


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and everything plain that lay beside them."""

    tensors: dict[str, torch.Tensor]
    extras: dict[str, Any]


def read_checkpoint(kind: FileKind) -> Checkpoint:
    """Read a state dict without running code from it: `weights_only=True`, or safetensors.

    Raises:
        BadInput: damaged, or no tensors are found in it.
    """
    path = Path(kind.path)
    loaded = _read_safetensors(path) if kind.layout == "safetensors" else _read_torch(path, kind)
    return unwrap(path, loaded)


def load_into(path: Path, checkpoint: Checkpoint, arch: str) -> nn.Module:
    """Build `arch` and fill it with the checkpoint's weights; every key must fit.

    Raises:
        UsageError: `arch` names nothing that exists.
        BadInput: the first three keys that are missing, unexpected or of another shape.
    """
    module = build_architecture(arch, num_classes=_last_rows(checkpoint.tensors))
    weights = fitting_names(checkpoint.tensors, module)
    classes = _num_classes(weights, module.state_dict())
    if classes is not None:
        module = build_architecture(arch, num_classes=classes)
    wanted = module.state_dict()
    problems = _misfits(weights, wanted)
    if problems:
        raise BadInput(f"{path} does not fit {arch}: {'; '.join(problems[:3])}{_more(problems)}; name another --arch")
    module.load_state_dict({key: weights.get(key, value) for key, value in wanted.items()})
    return module.float().eval()


def fitting_names(tensors: Mapping[str, torch.Tensor], module: nn.Module) -> dict[str, torch.Tensor]:
    """Strip the wrapper prefixes whose removal makes more keys match the module's."""
    wanted = set(module.state_dict())
    variants = [dict(tensors)]
    for _ in range(3):  # wrappers nest: module._orig_mod.layer1
        stripped = [strip_prefix(names, prefix) for names in variants for prefix in PREFIXES]
        variants += [names for names in stripped if all(names.keys() != known.keys() for known in variants)]
    return max(variants, key=lambda names: len(wanted & names.keys()))


def strip_prefix(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Keep the keys that begin with `prefix`, without it; all keys where none does."""
    kept = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    return kept or dict(tensors)


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            return {"state_dict": tensors, **(file.metadata() or {})}
    except (SafetensorError, OSError, ValueError) as error:
        raise BadInput(f"{path}: a damaged .safetensors file ({error}); copy or save it again") from error


def _read_torch(path: Path, kind: FileKind) -> Any:
    if kind.layout == "torch zip":
        open_archive(path).close()
    try:
        with path.open("rb") as file:
            return torch.load(io.BytesIO(file.read()), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load fails with whatever the bytes led it to
        reason = reason_of(error)
        raise BadInput(f"{path}: cannot be read as a state dict ({reason}); copy or save it again") from error


def unwrap(path: Path, loaded: Any) -> Checkpoint:
    extras: dict[str, Any] = {}
    for _ in range(4):
        if not isinstance(loaded, Mapping):
            raise BadInput(f"{path}: holds a {type(loaded).__name__}, not a state dict; save model.state_dict()")
        tensors = {str(key): value.detach() for key, value in loaded.items() if isinstance(value, torch.Tensor)}
        inner = next((key for key in WRAPPERS if isinstance(loaded.get(key), Mapping)), None)
        extras |= {str(key): value for key, value in loaded.items() if key != inner and key not in tensors}
        if inner is None:
            break
        loaded = loaded[inner]
    if not tensors:
        keys = ", ".join(shown(key) for key in list(loaded)[:5])
        raise BadInput(f"{path}: holds no tensors (keys: {keys or 'none'}); save model.state_dict()")
    return Checkpoint(tensors, extras)


def _last_rows(tensors: Mapping[str, torch.Tensor]) -> int | None:
    """A first guess at the number of classes, for user functions that must be told one: rows of the last matrix."""
    rows = [int(value.shape[0]) for value in tensors.values() if value.ndim == 2]
    return rows[-1] if rows else None


def _num_classes(weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> int | None:
    """Outputs of the checkpoint's classifier, where it is the last weight and only its first dimension differs."""
    other = [key for key in wanted if key in weights and weights[key].shape != wanted[key].shape]
    matrices = [key for key in other if wanted[key].ndim in (2, 4) and wanted[key].shape[1:] == weights[key].shape[1:]]
    if not matrices or any(wanted[key].shape[1:] != weights[key].shape[1:] for key in other):
        return None
    return int(weights[matrices[-1]].shape[0])


def _misfits(weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> list[str]:
    missing = [f"missing {shown(key)}" for key in wanted if key not in weights and not _is_counter(key)]
    unexpected = [f"unexpected {shown(key)}" for key in weights if key not in wanted and not _is_counter(key)]
    shapes = [
        f"{shown(key)} has shape {tuple(weights[key].shape)}, the architecture wants {tuple(wanted[key].shape)}"
        for key in wanted
        if key in weights and weights[key].shape != wanted[key].shape
    ]
    return [*shapes, *missing, *unexpected]


def _is_counter(key: str) -> bool:
    """Batch norm's step counter, which old checkpoints lack and nothing computes with."""
    return key.endswith("num_batches_tracked")


def _more(problems: list[str]) -> str:
    return f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
