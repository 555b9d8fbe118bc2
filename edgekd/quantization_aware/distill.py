"""Quantization-aware distillation: the float model teaches its int8 file, on the very graph that ships."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from edgekd.errors import BadInput
from edgekd.external_data import write_onnx
from edgekd.formats.onnx_teacher import OnnxTeacher
from edgekd.formats.outputs import outputs_of
from edgekd.parity import worst_sqnr_db
from edgekd.progress import Listener
from edgekd.quantization_aware.interpreter import constants_of
from edgekd.quantization_aware.losses import Loss, classifier_loss, relative_error
from edgekd.quantization_aware.student import Student
from edgekd.quantization_aware.teach import Course, teach
from edgekd.quantization_aware.write_back import with_constants
from edgekd.record import Record
from edgekd.runtimes import predict_all
from edgekd.training.precision import repeatable

Array = npt.NDArray[Any]

BATCH_SIZE = 32
SMALLEST_POWER = 1e-12
"""For an output that is always zero."""
RATE, HIGHEST_RATE = 0.3, 0.3
"""Learning rate per amplitude of noise over that of the signal, and the highest there is."""


class QadResult(Record):
    """What quantization-aware distillation came to.

    Signal to noise in dB is that of the worst output on the held-out inputs, of the files before and after as ONNX
    Runtime runs them; losses are those of the training, on the same inputs. With `best_step` 0 nothing was gained, and
    the file written is the one that came in.
    """

    file: str
    steps: int
    best_step: int
    before_db: float
    after_db: float
    before_loss: float
    after_loss: float
    seconds: float
    notes: tuple[str, ...] = ()


def distill_quantized(
    quantized: Path,
    float_model: Path,
    out: Path,
    *,
    inputs: Array,
    held_out: Array,
    classifier: bool,
    passes: int,
    learning_rate: float | None,
    seed: int,
    seconds: float | None,
    listen: Listener,
    plan: Path | None = None,
) -> QadResult:
    """Train the int8 file `quantized` to say what `float_model` says, and write the best found to `out`, whole.

    Trained are weights, biases and the scales of activations; nodes, scales of weights, zero points and types stay. The
    same seed, files, inputs and number of threads give the same bytes, unless the time limit `seconds` cuts the steps
    short; then also, with the same `plan`.

    Args:
        inputs: what to train on, as the model gets it, (n, ...); an array or a memory map. Labels are not needed.
        held_out: what to judge by, (m, ...); evaluated often, so a few hundred are enough.
        classifier: an only output holds logits, of which probabilities count and not the values. Where there are
            several outputs, the values of all of them count.
        learning_rate: in steps of 1/127 of each tensor's range; by default what `learning_rate_for` says.
        plan: file that keeps the number of steps that fit into `seconds`, so that another run takes as many.

    Raises:
        BadInput: an operator that has no form with gradients, inputs that do not fit or are too few, or outputs of the
            two files that do not correspond.
    """
    started = time.monotonic()
    model, original = onnx.load(quantized), onnx.load(float_model)
    with repeatable(seed, threads=torch.get_num_threads()):
        student = Student(model, quantized.name, constants_of(original, float_model.name))
        size = student.graph.batch or 1
        _check_inputs(size, inputs, held_out)
        reference = predict_all(float_model, [held_out])
        before = worst_sqnr_db(reference, predict_all(quantized, [held_out]))
        lesson = teach(
            student,
            _teacher(float_model, original),
            classifier_loss if classifier and len(reference) == 1 else _error_of(reference),
            inputs=inputs[: len(inputs) // size * size],
            held_out=held_out[: len(held_out) // size * size],
            course=Course(
                passes=passes,
                batch_size=max(1, BATCH_SIZE // size) * size,
                learning_rate=learning_rate_for(before) if learning_rate is None else learning_rate,
                seed=seed,
                seconds=seconds,
                plan=plan,
            ),
            listen=listen,
        )
        trained = with_constants(model, student.current()) if lesson.best_step else model
    after = _write_what_runs(out, trained, reference, held_out)
    return QadResult(
        file=out.name,
        before_db=before,
        after_db=after,
        seconds=time.monotonic() - started,
        **asdict(lesson),
    )


def _teacher(path: Path, model: onnx.ModelProto) -> Callable[[torch.Tensor], tuple[torch.Tensor, ...]]:
    teacher = OnnxTeacher(path, model)
    return lambda batch: outputs_of(teacher(batch), len(batch))


def learning_rate_for(signal_db: float) -> float:
    """Return the learning rate, in steps, for a file of this signal to noise: the less is amiss, the smaller.

    Adam moves every value by about the rate whatever its gradient, so on a file that is nearly right all move away from
    it together. 0.3 mended files of 2 to 8 dB and spoilt one of 29 dB, as 0.1 did.
    """
    return min(HIGHEST_RATE, RATE * 10 ** (-signal_db / 20))


def _check_inputs(size: int, *given: Array) -> None:
    for inputs in given:
        if inputs.ndim < 2 or len(inputs) < size:
            raise BadInput(
                f"Inputs of shape {inputs.shape} are too few to train on; give at least {size}, the graph's batch, to "
                "train on and as many held out."
            )


def _write_what_runs(out: Path, model: onnx.ModelProto, reference: tuple[Array, ...], held_out: Array) -> float:
    """Write a file that the runtime has run, and return its signal to noise in dB."""
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        path = Path(folder) / out.name
        write_onnx(path, model)
        signal = worst_sqnr_db(reference, predict_all(path, [held_out]))
    write_onnx(out, model)
    return signal


def _error_of(reference: tuple[Array, ...]) -> Loss:
    return relative_error(tuple(float(np.square(one).mean()) + SMALLEST_POWER for one in reference))
