"""What a scheme is: a function from a float ONNX file to one that stores its numbers another way."""

from pathlib import Path
from typing import Protocol

from edgekd.device import Numerics
from edgekd.record import Record
from edgekd.schemes.calibration import CalibrationData


class SchemeResult(Record):
    """What a scheme did. `skipped` says why it does not apply to this model; then no file was written."""

    scheme: str
    file: str | None = None
    opset: int | None = None
    ir_version: int | None = None
    skipped: str | None = None
    notes: tuple[str, ...] = ()


class Scheme(Protocol):
    """Write `out` from `model`, a self-contained float ONNX file of one input, or say why that makes no sense.

    `numerics` is how the device's integer kernels want their numbers. The opset and IR version never rise above those
    of `model` without a note. `out` appears whole or not at all. Raises BadInput where the model cannot be quantized.
    """

    def __call__(
        self, model: Path, out: Path, *, calibration: CalibrationData | None, numerics: Numerics
    ) -> SchemeResult: ...
