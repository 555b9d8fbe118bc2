"""The model as it is, which every other scheme has to beat."""

from pathlib import Path

import onnx

from edgekd.device import Numerics
from edgekd.external_data import copy_onnx
from edgekd.onnx_graph import opset_of
from edgekd.schemes.calibration import CalibrationData, Method
from edgekd.schemes.scheme import Evidence, SchemeResult


def fp32(
    model: Path,
    out: Path,
    *,
    calibration: CalibrationData | None,
    numerics: Numerics,
    method: Method = "minmax",
    evidence: Evidence | None = None,
) -> SchemeResult:
    """Copy the float file."""
    graph = onnx.load(model, load_external_data=False)
    copy_onnx(model, out)
    return SchemeResult(scheme="fp32", file=out.name, opset=opset_of(graph), ir_version=graph.ir_version)
