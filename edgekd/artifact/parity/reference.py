"""The pipeline's own model, which the parity vectors are taken from. Needs PyTorch."""

from collections.abc import Mapping
from pathlib import Path

import onnxruntime
import torch
from safetensors.torch import load_file
from torch import nn

from edgekd.artifact.parity.vectors import Reference
from edgekd.exporting.onnx_export import module_outputs
from edgekd.formats.read import LoadedModel
from edgekd.rendering.outline import Shipped

NAMES: dict[Shipped, str] = {
    "teacher": "the model itself",
    "student": "the student",
    "control": "the student trained alone",
}


def pipeline_reference(
    teacher: LoadedModel, students: Mapping[Shipped, nn.Module], weights: Path, who: Shipped
) -> Reference:
    """What ships as it was before it was exported and quantized: the trained module in float32, or a model that came as
    ONNX as it came.

    Args:
        students: modules of the student's architecture, by the name of their weights in `weights/NAME.safetensors`.
        who: "teacher", or one of `students`.
    """
    module = teacher.module
    if who != "teacher":
        module = students[who]
        module.load_state_dict(load_file(weights / f"{who}.safetensors"))
    module = module.eval()
    said = f"PyTorch {torch.__version__.partition('+')[0]}, {NAMES[who]} in float32"
    if who == "teacher" and teacher.onnx_path is not None:
        said = f"ONNX Runtime {onnxruntime.__version__}, the file as it came"
    return Reference(said, lambda inputs: module_outputs(module, inputs))
