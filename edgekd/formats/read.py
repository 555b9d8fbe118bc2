"""One way in: whatever the file is, out comes a module and what is known of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn
from torch.export.graph_signature import InputKind, TensorArgument

from edgekd.errors import BadInput, UsageError, reason_of
from edgekd.formats.batch import free_batch
from edgekd.formats.encoder_directory import read_encoder
from edgekd.formats.guess_architecture import guess_architecture
from edgekd.formats.identify import KIND_NAMES, FileKind, identify
from edgekd.formats.metadata import checked_metadata
from edgekd.formats.onnx_file import INPUT_TYPES, onnx_inputs, read_onnx
from edgekd.formats.onnx_teacher import OnnxTeacher
from edgekd.formats.probe import check_batches, check_parity, example_inputs, run
from edgekd.formats.pt2 import read_exported_program
from edgekd.formats.rebuild import evaluate_only, rebuild
from edgekd.formats.state_dict import Checkpoint, load_into, read_checkpoint, unwrap
from edgekd.formats.trusted import read_pickled_module, read_torchscript, refuse_untrusted


@dataclass(frozen=True)
class LoadedModel:
    """A model that came in. `input_shape` is (batch, ...) with None for open sizes, or None where it is unsaid."""

    module: nn.Module
    """In eval mode, on the CPU, in float32."""
    kind: str
    sha256: str
    input_shape: tuple[int | None, ...] | None
    metadata: dict[str, Any]
    """Of mean, std, input_size, interpolation, crop_pct, labels and licence, and of encoders pad and max_length: what
    the file itself states."""
    notes: tuple[str, ...]
    """Sentences for the report."""
    trainable: bool
    """False for ONNX and TorchScript, which can only be run."""
    onnx_path: Path | None = None
    input_dtype: Literal["float32", "int64"] | None = None
    """Of what the file's input takes, as far as it says so; whole numbers of any width are int64."""


def read_model(path: str | Path, *, arch: str | None = None, trust: bool = False) -> LoadedModel:
    """Read a model file of any kind that edgekd takes.

    Args:
        path: .pt2, state dict, .onnx, pickled module or TorchScript, told apart by content, or an encoder's directory.
        arch: for a state dict: "timm:NAME", "torchvision:NAME" or "file.py:build".
        trust: allow files whose loading runs code.

    Raises:
        BadInput: the file cannot be used as it is.
        UsageError: `arch` names nothing that exists, or is given for a file that carries its own program.
    """
    kind = identify(path)
    if arch is not None and kind.kind not in ("state dict", "pickled module"):
        raise UsageError(
            f"--arch {arch!r} does not go with {path}, {KIND_NAMES[kind.kind]}, which carries its own program"
        )
    return READERS[kind.kind](kind, arch, trust)


def _read_program(kind: FileKind, arch: str | None, trust: bool) -> LoadedModel:
    """Rebuild an exported program and hold it against itself, on the example batch and over other batch sizes."""
    path = Path(kind.path)
    file = read_exported_program(path)
    program, notes = file.program, []
    if evaluate_only(program):
        notes.append("The program was exported in training mode; it is evaluated in eval mode.")
    inputs = example_inputs(program)
    arguments = [spec.arg for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]
    tensors = [arg for arg in arguments if isinstance(arg, TensorArgument)]
    if not tensors or len(tensors) != len(inputs):
        raise BadInput(
            f"{path}: the program takes {len(tensors)} tensors; export a model that takes one batch of inputs"
        )
    try:
        reference = run(program.module(), inputs)
    except Exception as error:  # every operator fails with its own kind of exception
        reason = reason_of(error)
        raise BadInput(f"{path}: the program fails on its own example input ({reason}); export it again") from error
    module = rebuild(path, program)
    node = next(node for node in program.graph.nodes if node.name == tensors[0].name)
    shape = tuple(int(size) if isinstance(size, int) else None for size in node.meta["val"].shape)
    if shape and shape[0] is not None:
        free_batch(path, module, inputs)
        notes.append(f"The program was exported for batches of {shape[0]}; rebuilt, it takes any.")
    check_parity(path, module, reference, inputs)
    check_batches(path, module, inputs, tensors[0].name)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    shape = (None, *shape[1:])
    loaded = _loaded(kind, module, checked_metadata(file.extras), input_shape=shape, notes=tuple(notes))
    return replace(loaded, input_dtype="float32" if inputs[0].is_floating_point() else "int64")


def _read_state_dict(kind: FileKind, arch: str | None, trust: bool) -> LoadedModel:
    return _fill(kind, read_checkpoint(kind), arch)


def _fill(kind: FileKind, checkpoint: Checkpoint, arch: str | None) -> LoadedModel:
    path = Path(kind.path)
    if arch is None:
        likely = guess_architecture(checkpoint.tensors)
        unsure = " with your own file" if likely == "file.py:build" else ""
        raise BadInput(
            f"{path} holds weights without their program; name the architecture{unsure}: "
            f"edgekd compress {path} --arch {likely} --target raspberry-pi"
        )
    module = load_into(path, checkpoint, arch)
    return _loaded(kind, module, checked_metadata(checkpoint.extras))


def _read_pickled(kind: FileKind, arch: str | None, trust: bool) -> LoadedModel:
    found = read_pickled_module(kind, trust=trust)
    note = f"{Path(kind.path).name} was unpickled because it was trusted; that runs code from inside it."
    if isinstance(found, nn.Module):
        return _loaded(kind, found, {}, notes=(note,))
    return replace(_fill(kind, unwrap(Path(kind.path), found), arch), notes=(note,))


def _read_torchscript(kind: FileKind, arch: str | None, trust: bool) -> LoadedModel:
    refuse_untrusted(kind, trust=trust)
    note = "TorchScript was loaded because it was trusted; it can teach, but not be pruned."
    return _loaded(kind, read_torchscript(kind, trust=trust), {}, notes=(note,), trainable=False)


def _read_onnx(kind: FileKind, arch: str | None, trust: bool) -> LoadedModel:
    path = Path(kind.path)
    model = read_onnx(path)
    module = OnnxTeacher(path, model).eval()
    value = onnx_inputs(model)[0]
    shape = value.shape
    sizes = None if shape is None else (None, *(size if isinstance(size, int) else None for size in shape[1:]))
    metadata = checked_metadata({entry.key: entry.value for entry in model.metadata_props})
    loaded = _loaded(kind, module, metadata, input_shape=sizes, trainable=False)
    return replace(loaded, onnx_path=path, input_dtype=INPUT_TYPES[value.dtype])


def _read_encoder(kind: FileKind, arch: str | None, trust: bool) -> LoadedModel:
    module, stated = read_encoder(kind)
    return replace(_loaded(kind, module, stated, input_shape=(None, None)), input_dtype="int64")


def _loaded(
    kind: FileKind,
    module: nn.Module,
    metadata: dict[str, Any],
    *,
    input_shape: tuple[int | None, ...] | None = None,
    notes: tuple[str, ...] = (),
    trainable: bool = True,
) -> LoadedModel:
    return LoadedModel(
        module=module.eval(),
        kind=kind.kind,
        sha256=kind.sha256,
        input_shape=input_shape,
        metadata=metadata,
        notes=notes,
        trainable=trainable,
    )


READERS: dict[str, Callable[[FileKind, str | None, bool], LoadedModel]] = {
    "exported program": _read_program,
    "state dict": _read_state_dict,
    "pickled module": _read_pickled,
    "torchscript": _read_torchscript,
    "onnx": _read_onnx,
    "encoder directory": _read_encoder,
}
