"""What a file for PyTorch holds, for `edgekd inspect`; nothing in it is executed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from edgekd.formats.encoder_directory import read_config
from edgekd.formats.guess_architecture import guess_architecture
from edgekd.formats.identify import FileKind, identify, weights_in
from edgekd.formats.pt2 import read_exported_program
from edgekd.formats.state_dict import read_checkpoint
from edgekd.formats.zip_members import shown

FIRST = 5
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Ends of the names of batch norm's buffers, which are no parameters."""


def describe(kind: FileKind) -> dict[str, Any]:
    """Return the fields of `TorchFacts` for an exported program, a state dict or an encoder's directory.

    Of a program its inputs and outputs, as in "x: float32 (any, 3, 32, 32)"; of weights their first names.

    Raises:
        BadInput: the file is damaged, or holds more than plain operators and weights.
    """
    if kind.kind == "exported program":
        return _program(read_exported_program(Path(kind.path)).program)
    if kind.kind == "encoder directory":
        return _encoder(Path(kind.path))
    return _weights(read_checkpoint(kind).tensors)


def _encoder(root: Path) -> dict[str, Any]:
    """What the configuration says, and the weights; the architecture is known, so none is guessed."""
    config, weights = read_config(root), weights_in(root)
    assert weights is not None  # as `identify` found
    told = _weights(read_checkpoint(identify(weights)).tensors)
    length = config.get("max_position_embeddings", "any")
    kind = f"token ids: int64 (any, up to {length}), {shown(config['model_type'])}"
    return {**told, "inputs": (kind,), "outputs": ("logits: float32 (any, classes)",), "arch": None}


def _weights(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    names = [f"{shown(name)} {_shape(tensor)}" for name, tensor in list(tensors.items())[:FIRST]]
    params = sum(tensor.numel() for name, tensor in tensors.items() if not name.endswith(_STATISTICS))
    return {"params": params, "names": tuple(names), "arch": guess_architecture(tensors)}


def _program(program: ExportedProgram) -> dict[str, Any]:
    signature = program.graph_signature
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    return {
        "inputs": tuple(_value(str(name), values.get(str(name))) for name in signature.user_inputs),
        "outputs": tuple(_value(str(name), values.get(str(name))) for name in signature.user_outputs),
        "params": sum(parameter.numel() for parameter in program.parameters()),
    }


def _value(name: str, value: object) -> str:
    if not isinstance(value, torch.Tensor):
        return shown(name)
    return f"{shown(name)}: {str(value.dtype).removeprefix('torch.')} {_shape(value)}"


def _shape(tensor: torch.Tensor) -> str:
    """Such as "(any, 3, 32, 32)"; sizes that the program leaves open are "any"."""
    return f"({', '.join(str(size) if isinstance(size, int) else 'any' for size in tensor.shape)})"
