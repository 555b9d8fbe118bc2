"""What a scheme is: a function from a float ONNX file to one that stores its numbers another way."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import onnx

from edgekd.device import Numerics
from edgekd.progress import Listener, silent
from edgekd.record import Record
from edgekd.schemes.calibration import CalibrationData, Method


class SchemeResult(Record):
    """What a scheme did. `skipped` says why it does not apply to this model; then no file was written.

    `left_float` names the nodes of the float file that it left as they were, though they have an int8 form.
    """

    scheme: str
    file: str | None = None
    opset: int | None = None
    ir_version: int | None = None
    skipped: str | None = None
    notes: tuple[str, ...] = ()
    left_float: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What a scheme that looks for its own settings judges them by, and what it may spend on that.

    score: a file's score on validation, 0 to 1, higher is better.
    enough: the score at which it may stop.
    milliseconds: a graph's latency on the target, estimated.
    float_blocks: nodes of an int8 file that had better be float there, by the fusion oracle.
    seconds: wall time that it may take.
    folder: where it keeps what it has tried, so that it goes on from there after an interruption.
    training: all training inputs.
    classifier: whether the first output are logits of classes.
    """

    score: Callable[[Path], float]
    enough: float
    milliseconds: Callable[[onnx.ModelProto], float]
    float_blocks: Callable[[Path], tuple[str, ...]]
    seconds: float
    folder: Path
    training: CalibrationData
    classifier: bool
    seed: int = 0
    listen: Listener = silent


class Scheme(Protocol):
    """Write `out` from `model`, a self-contained float ONNX file of one input, or say why that makes no sense.

    `numerics` is how the device's integer kernels want their numbers, `method` how calibrated ranges are bounded. The
    opset and IR version never rise above those of `model` without a note. `out` appears whole or not at all. Raises
    BadInput where the model cannot be quantized.
    """

    def __call__(
        self,
        model: Path,
        out: Path,
        *,
        calibration: CalibrationData | None,
        numerics: Numerics,
        method: Method = "minmax",
        evidence: Evidence | None = None,
    ) -> SchemeResult: ...
