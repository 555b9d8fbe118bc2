"""Pickled modules and TorchScript: reading them runs code from inside them, so only on the user's word."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgekd.errors import BadInput
from edgekd.formats.identify import FileKind
from edgekd.formats.state_dict import WRAPPERS
from edgekd.formats.zip_members import shown

logger = logging.getLogger(__name__)

INSTEAD = (
    "save it without code, by torch.export.save(torch.export.export(model.eval(), (x,)), 'model.pt2') or "
    "torch.save(model.state_dict(), 'weights.pt'), or pass --trust if you know where the file comes from"
)


def refuse_untrusted(kind: FileKind, *, trust: bool) -> None:
    """Stop unless the user trusts the file.

    Raises:
        BadInput: `trust` is False; the sentence says which names would be imported and what to do instead.
    """
    if not trust:
        named = ", ".join(shown(name) for name in kind.names[:3])
        what = "TorchScript" if kind.kind == "torchscript" else "a pickle that imports Python code"
        raise BadInput(
            f"{kind.path}: {what}{f' ({named})' if named else ''}; loading it would run that code: {INSTEAD}"
        )


def read_pickled_module(kind: FileKind, *, trust: bool = False) -> nn.Module | dict[str, Any]:
    """Unpickle a file that holds a whole module, or a checkpoint that holds one or its weights beside other objects.

    Returns:
        The module in eval mode on the CPU in float32; or the checkpoint's dictionary, where it holds only weights.

    Raises:
        BadInput: not trusted, the module's classes cannot be imported, or there is no module in it.
    """
    refuse_untrusted(kind, trust=trust)
    logger.info("unpickling %s because it is trusted", kind.path)
    try:
        loaded = torch.load(kind.path, map_location="cpu", weights_only=False)
    except Exception as error:  # unpickling fails with whatever its code raises
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
        raise BadInput(
            f"{kind.path}: cannot be unpickled ({reason}); run where its classes import, or {INSTEAD}"
        ) from error
    if isinstance(loaded, dict):
        inner = next((loaded[key] for key in WRAPPERS if isinstance(loaded.get(key), nn.Module)), None)
        loaded = loaded if inner is None else inner
    if not isinstance(loaded, (nn.Module, dict)):
        raise BadInput(f"{kind.path}: holds a {type(loaded).__name__}, neither a module nor weights")
    return loaded.float().eval() if isinstance(loaded, nn.Module) else loaded


def read_torchscript(kind: FileKind, *, trust: bool = False) -> nn.Module:
    """Load TorchScript in eval mode on the CPU. It can be run, but neither trained nor pruned.

    Raises:
        BadInput: not trusted, or damaged.
    """
    refuse_untrusted(kind, trust=trust)
    try:
        module = torch.jit.load(Path(kind.path), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        raise BadInput(f"{kind.path}: damaged TorchScript ({reason}); export it again") from error
    loaded: nn.Module = module.float().eval()
    return loaded
