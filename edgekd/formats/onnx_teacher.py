"""An ONNX file as a teacher: a module that runs ONNX Runtime on the CPU."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from onnx import ModelProto
from torch import nn

from edgekd.errors import BadInput
from edgekd.formats.onnx_file import image_input, onnx_outputs, read_onnx
from edgekd.formats.zip_members import shown


class OnnxTeacher(nn.Module):
    """Maps images float32 (batch, channels, height, width) to the file's first output as float32 (batch, ...).

    It has no parameters to train. Where the file fixes its batch size, larger batches are run in pieces of that size,
    the last one padded.
    """

    def __init__(self, path: Path, model: ModelProto | None = None) -> None:
        super().__init__()
        model = model or read_onnx(path)
        image = image_input(path, model)
        self.path = path
        self.input_name, self.output_name = image.name, onnx_outputs(model)[0].name
        shape = image.shape or ()
        self.batch = shape[0] if shape and isinstance(shape[0], int) and shape[0] > 0 else None
        self.session = _session(path)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Run the file on inputs of any batch size."""
        values = inputs.detach().cpu().numpy().astype(np.float32, copy=False)
        size = self.batch or max(1, len(values))
        pieces = [self._run(values[start : start + size], size) for start in range(0, len(values), size)]
        return torch.from_numpy(np.concatenate(pieces).astype(np.float32)).to(inputs.device)

    def _run(self, piece: npt.NDArray[np.floating], size: int) -> npt.NDArray[np.floating]:
        missing = (size if self.batch else len(piece)) - len(piece)
        padded = np.concatenate([piece, np.repeat(piece[-1:], missing, axis=0)]) if missing else piece
        try:
            (result,) = self.session.run([self.output_name], {self.input_name: np.ascontiguousarray(padded)})
        except Exception as error:  # onnxruntime's own exceptions share no public base class
            reason = (str(error).strip().splitlines() or [""])[0]
            shape = tuple(padded.shape)
            raise BadInput(f"{self.path}: fails on an input of shape {shape}: {shown(reason)}") from error
        return np.asarray(result)[: len(piece)]


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no public base class
        reason = (str(error).strip().splitlines() or [""])[0]
        raise BadInput(f"{path}: ONNX Runtime {onnxruntime.__version__} does not load it: {shown(reason)}") from error
