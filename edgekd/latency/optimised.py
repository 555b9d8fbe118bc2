"""A graph as ONNX Runtime leaves it after its own fusions: what a device will really execute.

The fusions are done by the runtime that is installed here, with the decisions of an Arm build where the device is one
(`ARM_DECISIONS`), so nothing of them is guessed and no device is needed.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime

from edgekd.errors import BadInput
from edgekd.external_data import PAGE, data_file, to_bytes
from edgekd.formats.onnx_file import read_onnx
from edgekd.latency.graph import GraphSummary, summarise
from edgekd.runtimes import in_one_line

ARM_DECISIONS = "session.qdqisint8allowed"
"""Session config entry: "1" has any machine fuse signed integers as Arm builds do, "0" as those for x86."""
_CPU = ["CPUExecutionProvider"]


def optimise(model: Path, *, arm: bool, layout: bool = False) -> onnx.ModelProto:
    """Return the graph that the runtime executes for `model`, every tensor with its shape and type in `value_info`.

    With `arm`, this machine takes the decisions of an Arm build, whatever it is. With `layout`, the processor's data
    layout is chosen too: channels last for integer convolutions; blocks of channels for float ones on x86, which Arm
    builds do not have. Free dimensions count as one. The weights of a model of two files are left out.

    Raises:
        BadInput: ONNX Runtime does not load the file.
    """
    levels = onnxruntime.GraphOptimizationLevel
    options = _options(levels.ORT_ENABLE_ALL if layout else levels.ORT_ENABLE_EXTENDED)
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_session_config_entry(ARM_DECISIONS, "1" if arm else "0")
    if data_file(model).is_file():
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights.data")
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", str(PAGE))
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        written = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(written)
        try:
            left_out = {"NchwcTransformer"} if arm else None
            onnxruntime.InferenceSession(str(model), options, providers=_CPU, disabled_optimizers=left_out)
            return _with_shapes(onnx.load(written, load_external_data=False), Path(folder))
        except Exception as error:  # whatever the runtime raises
            raise BadInput(f"{model.name}: ONNX Runtime does not load it: {in_one_line(str(error))}") from error


def summarise_file(model: Path, *, arm: bool) -> GraphSummary:
    """Return what `summarise` does for a file, its nodes being those that the runtime really executes.

    Raises:
        BadInput: ONNX Runtime does not load the file, or its work cannot be counted.
    """
    executed = summarise(optimise(model, arm=arm, layout=arm), optimised=True)
    return replace(summarise(read_onnx(model)), nodes=executed.nodes)


def _options(level: onnxruntime.GraphOptimizationLevel) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    return options


def _with_shapes(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """Add what the runtime knows of every tensor: onnx's own inference stops at the runtime's operators. Weights that
    the runtime left in `folder` are read from there."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    told = {value.name for value in model.graph.output}
    inner = dict.fromkeys(name for node in model.graph.node for name in node.output if name and name not in told)
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    (folder / "probe.onnx").write_bytes(to_bytes(probe))
    options = _options(onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    session = onnxruntime.InferenceSession(str(folder / "probe.onnx"), options, providers=_CPU)
    del model.graph.value_info[:]
    for value in session.get_outputs():
        shape = [size if isinstance(size, int) else 1 for size in value.shape]
        if value.name in inner:
            model.graph.value_info.append(onnx.helper.make_tensor_value_info(value.name, _TYPES[value.type], shape))
    return model


_TYPES = {
    "tensor(float)": onnx.TensorProto.FLOAT,
    "tensor(float16)": onnx.TensorProto.FLOAT16,
    "tensor(double)": onnx.TensorProto.DOUBLE,
    "tensor(int8)": onnx.TensorProto.INT8,
    "tensor(uint8)": onnx.TensorProto.UINT8,
    "tensor(int32)": onnx.TensorProto.INT32,
    "tensor(int64)": onnx.TensorProto.INT64,
    "tensor(bool)": onnx.TensorProto.BOOL,
}
