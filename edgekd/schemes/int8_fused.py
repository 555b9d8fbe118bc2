"""int8 without the blocks in which it would cost more than it saves on the target."""

import tempfile
from pathlib import Path

from edgekd.device import Numerics
from edgekd.schemes.calibration import CalibrationData, Method
from edgekd.schemes.int8_static import int8_static
from edgekd.schemes.scheme import Evidence, SchemeResult


def int8_fused(
    model: Path,
    out: Path,
    *,
    calibration: CalibrationData | None,
    numerics: Numerics,
    method: Method = "minmax",
    evidence: Evidence | None = None,
) -> SchemeResult:
    """Write `int8_static` with those nodes float that the fusion oracle says had better be.

    Skipped where it names none, and without data.

    Raises:
        BadInput: the graph cannot be quantized, or its work cannot be counted.
    """
    if calibration is None or evidence is None:
        return SchemeResult(scheme="int8_fused", skipped="there are no calibration data")
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        whole = int8_static(
            model, Path(folder) / "whole.onnx", calibration=calibration, numerics=numerics, method=method
        )
        if whole.file is None:
            return whole.model_copy(update={"scheme": "int8_fused"})
        names = evidence.float_blocks(Path(folder) / whole.file)
    if not names:
        return SchemeResult(scheme="int8_fused", skipped="no block costs more in int8 than in float on the target")
    result = int8_static(model, out, calibration=calibration, numerics=numerics, method=method, leave_float=names)
    return result.model_copy(update={"scheme": "int8_fused", "left_float": names})
