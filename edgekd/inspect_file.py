"""What a file is, whether it is safe to load, and for ONNX what it computes. Nothing in the file is executed."""

import math
from collections import Counter
from pathlib import Path

from onnx import ModelProto, TensorProto, ValueInfoProto

from edgekd.device import list_profiles
from edgekd.errors import BadInput
from edgekd.formats.identify import FileKind, identify
from edgekd.formats.onnx_file import read_onnx
from edgekd.latency.graph import summarise
from edgekd.onnx_graph import opset_of
from edgekd.record import Record


class TensorFacts(Record):
    """One input or output: name, element type, and shape with names or None for dynamic dimensions."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


class OnnxFacts(Record):
    """What an ONNX graph computes, and which devices' runtimes are new enough to load it."""

    opset: int
    ir_version: int
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    macs: int | None
    """None where the shapes that MACs depend on are known only when the model runs."""
    params: int
    operators: dict[str, int]
    loads_on: tuple[str, ...]
    too_new_for: tuple[str, ...]


class Inspection(Record):
    """`inspect --json`."""

    file: FileKind
    onnx: OnnxFacts | None = None


def inspect_file(path: Path) -> Inspection:
    """Identify a file by its content.

    Raises:
        BadInput: there is no such file, or it is ONNX and damaged.
    """
    kind = identify(path)
    return Inspection(file=kind, onnx=_onnx_facts(path) if kind.kind == "onnx" else None)


def _onnx_facts(path: Path) -> OnnxFacts:
    model = read_onnx(path)
    macs = _macs(model)
    opset = opset_of(model)
    runtimes = {p.name: p.runtimes["onnxruntime"] for p in list_profiles() if "onnxruntime" in p.runtimes}
    loads = {name: opset <= r.max_opset and model.ir_version <= r.max_ir for name, r in runtimes.items()}
    constants = {tensor.name for tensor in model.graph.initializer}
    return OnnxFacts(
        opset=opset,
        ir_version=model.ir_version,
        inputs=tuple(_tensor(v) for v in model.graph.input if v.name not in constants),
        outputs=tuple(_tensor(v) for v in model.graph.output),
        macs=macs,
        params=sum(math.prod(tensor.dims) for tensor in model.graph.initializer),
        operators=dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        loads_on=tuple(name for name, fits in loads.items() if fits),
        too_new_for=tuple(name for name, fits in loads.items() if not fits),
    )


def _macs(model: ModelProto) -> int | None:
    try:
        return summarise(model).macs
    except BadInput:
        return None


def _tensor(value: ValueInfoProto) -> TensorFacts:
    kind = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in kind.shape.dim)
    return TensorFacts(name=value.name, dtype=TensorProto.DataType.Name(kind.elem_type).lower(), shape=shape)
