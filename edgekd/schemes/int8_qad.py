"""int8 after quantization-aware distillation: the float model teaches the int8 file itself."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.device import Numerics
from edgekd.schemes.calibration import CalibrationData, Method
from edgekd.schemes.int8_static import int8_static
from edgekd.schemes.scheme import Evidence, SchemeResult

PASSES = 6
INPUTS = 4096
"""Training inputs that are learned from, fewer of them where they would not fit into `STORED_MIB`."""
HELD_OUT = 256
"""Further ones that say when it is best."""
STORED_MIB = 2048


def int8_qad(
    model: Path,
    out: Path,
    *,
    calibration: CalibrationData | None,
    numerics: Numerics,
    method: Method = "minmax",
    evidence: Evidence | None = None,
) -> SchemeResult:
    """Train the file that `int8_static` writes, scales included, to say what the float model says.

    No labels are needed. Skipped where there is nothing to train on, or nothing was gained.

    Raises:
        BadInput: the graph cannot be quantized, or an operator has no form with gradients.
    """
    if calibration is None or evidence is None or len(evidence.training) <= HELD_OUT:
        return SchemeResult(scheme="int8_qad", skipped=f"it needs more than {HELD_OUT} training inputs")
    from edgekd.quantization_aware.distill import distill_quantized  # torch takes seconds, and may not be there

    with _folder(evidence.folder / f".{out.stem}.partial") as folder:
        start = int8_static(model, folder / "static.onnx", calibration=calibration, numerics=numerics, method=method)
        if start.file is None:
            return start.model_copy(update={"scheme": "int8_qad"})
        rows = np.random.default_rng(evidence.seed).permutation(len(evidence.training))
        held_out = _stored(evidence.training, rows[:HELD_OUT], folder / "held_out.npy")
        found = distill_quantized(
            folder / start.file,
            model,
            out,
            inputs=_stored(evidence.training, rows[HELD_OUT : HELD_OUT + INPUTS], folder / "inputs.npy"),
            held_out=held_out,
            classifier=evidence.classifier,
            passes=PASSES,
            learning_rate=None,
            seed=evidence.seed,
            seconds=evidence.seconds,
            listen=evidence.listen,
            plan=evidence.folder / f"{out.stem}.steps.json",
        )
    if found.best_step == 0:
        out.unlink()
        skipped = f"training gained nothing in {found.steps} steps"
        return SchemeResult(scheme="int8_qad", skipped=skipped, notes=(*start.notes, *found.notes))
    signal = f"{found.before_db:.1f} to {found.after_db:.1f} dB"
    gained = f"the best of {found.steps} steps was {found.best_step}: {signal} on inputs held out"
    return start.model_copy(
        update={"scheme": "int8_qad", "file": out.name, "notes": (*start.notes, *found.notes, gained)}
    )


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """An empty folder for as long as it is needed: under one name, so that what a kill left of it is removed."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _stored(data: CalibrationData, rows: npt.NDArray[np.integer], path: Path) -> npt.NDArray[Any]:
    """Write some inputs as the model gets them to a file and map it, as many as `STORED_MIB` hold."""
    first = data.rows(rows[:1])
    most = max(1, STORED_MIB * 2**20 // first.nbytes)
    kept = rows[:most]
    stored = np.lib.format.open_memmap(path, "w+", first.dtype, (len(kept), *first.shape[1:]))
    for start in range(0, len(kept), 64):
        stored[start : start + 64] = data.rows(kept[start : start + 64])
    stored.flush()
    return stored
