"""What ONNX Runtime's own check says of a model on a phone: how much of it the accelerators' providers would take."""

import tempfile
from pathlib import Path

from edgekd.artifact.runtimes.tools import runtime_tool
from edgekd.errors import BadInput
from edgekd.record import Record
from edgekd.runtimes import in_one_line


class Usability(Record):
    """What the check says of one provider: it takes `taken` of `nodes` nodes, in `partitions` pieces, and `advice` is
    whether it is expected to run the model well. Nothing was run, and operators alone are looked at."""

    provider: str
    advice: str
    taken: int
    nodes: int
    partitions: int

    def sentence(self) -> str:
        """As it is told."""
        pieces = f"{self.partitions} partition{'s' * (self.partitions != 1)}"
        return f"{self.provider}: {self.advice}, {self.taken} of {self.nodes} nodes in {pieces}"


def mobile_usability(model: Path) -> tuple[Usability, ...]:
    """Return what the check of the installed ONNX Runtime says of an ONNX file, its constants folded before.

    Raises:
        BadInput: it cannot check the file.
    """
    checker, files = runtime_tool("mobile_helpers.usability_checker"), runtime_tool("onnx_model_utils")
    try:
        with tempfile.TemporaryDirectory(prefix="edgekd-mobile-") as scratch:
            folded = Path(scratch) / "model.onnx"
            files.optimize_model(model, folded, use_external_initializers=True)
            graph = files.ModelProtoWithShapeInfo(folded).model_with_shape_info
        found = {
            "NNAPI": checker.check_nnapi_partitions(graph, True),
            **{name: checker.check_coreml_partitions(graph, True, file) for name, file in _COREML.items()},
        }
    except Exception as error:  # whatever the check raises
        raise BadInput(f"{model.name}: ONNX Runtime's mobile check fails: {in_one_line(str(error))}") from error
    return tuple(
        Usability(
            provider=name,
            advice=one.suitability().name.lower(),
            taken=one.num_supported_nodes,
            nodes=one.num_nodes,
            partitions=one.num_partitions,
        )
        for name, one in found.items()
    )


_COREML = {
    "Core ML, neural network": "coreml_supported_neuralnetwork_ops.md",
    "Core ML, ML program": "coreml_supported_mlprogram_ops.md",
}
