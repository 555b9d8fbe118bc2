"""Which operators are left when ONNX Runtime has fused a graph: what a device will really execute."""

import tempfile
from collections import Counter
from pathlib import Path

import onnx
import onnxruntime

from edgekd.errors import BadInput
from edgekd.runtimes import in_one_line


def operators_left(model: Path, *, arm: bool) -> dict[str, int]:
    """Count the operators by type, sorted by name, after ONNX Runtime's fusions.

    A Q/DQ pair left beside a convolution means that the convolution stayed float and the file will be slow. With `arm`,
    this machine takes the fusion decisions of an ARM build, whatever it is (`session.qdqisint8allowed`). Layout changes
    are left out: they belong to the processor at hand.

    Raises:
        BadInput: ONNX Runtime does not load the file.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3
    options.add_session_config_entry("session.qdqisint8allowed", "1" if arm else "0")
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        optimised = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(optimised)
        try:
            onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
            nodes = onnx.load(optimised).graph.node
        except Exception as error:  # whatever the runtime raises
            raise BadInput(f"{model.name}: ONNX Runtime does not load it: {in_one_line(str(error))}") from error
    return dict(sorted(Counter(node.op_type for node in nodes).items()))
