"""Stage 4: the float model under every scheme; each candidate is loaded and run before it counts."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.data.split import open_split
from edgekd.device import DeviceProfile, Numerics
from edgekd.errors import BadInput
from edgekd.parity import sqnr_db
from edgekd.preprocessing import Preprocessing, normalise, sample_inputs
from edgekd.progress import Listener, Tick
from edgekd.record import Record
from edgekd.results import SchemeFile
from edgekd.runtimes import RUNTIMES, predict_all
from edgekd.schemes.calibration import CalibrationData, check_calibration
from edgekd.schemes.inspect_graph import operators_left
from edgekd.schemes.offered import offered, on_this_machine, runs_in, session_options
from edgekd.schemes.scheme import SchemeResult
from edgekd.schemes.signal import check_signal
from edgekd.schemes.table import SCHEMES, twin_numerics
from edgekd.workspace import file_sha256

log = logging.getLogger(__name__)

SIGNAL_INPUTS = 64


class Quantized(Record):
    """Every scheme that produced a file, and the ones that did not apply with the reason."""

    files: tuple[SchemeFile, ...]
    skipped: dict[str, str]
    notes: tuple[str, ...]


def quantize(
    folder: Path,
    *,
    model: Path,
    schemes: tuple[str, ...],
    profile: DeviceProfile,
    preprocessing: Preprocessing,
    data: Path | None,
    classes: int,
    calibration_images: int,
    seed: int,
    listen: Listener,
) -> Quantized:
    """Write `SCHEME.onnx` for each scheme that applies, in the numbers that the device's integer kernels want.

    Where this machine's kernels want others, `SCHEME.twin.onnx` is written too: it is timed here in the file's place.

    Raises:
        BadInput: calibration data that would poison every int8 file (NaN, infinite, constant, wrongly scaled).
    """
    calibration, notes = _calibration(data, preprocessing, calibration_images, classes, seed, folder)
    inputs = sample_inputs(SIGNAL_INPUTS, preprocessing.shape, preprocessing.dtype)
    if calibration is not None:
        inputs = calibration.part(0, SIGNAL_INPUTS)
    reference = predict_all(model, [inputs])
    files: list[SchemeFile] = []
    skipped: dict[str, str] = {}
    for done, scheme in enumerate(schemes):
        listen(Tick("scheme", done, len(schemes), scheme))
        path = folder / f"{scheme}.onnx"
        unable = _no_runtime(scheme, profile)
        result = unable or _write(scheme, model, path, calibration, profile.numerics)
        notes += tuple(f"{scheme}: {note}" for note in result.notes)
        if result.skipped:
            skipped[scheme] = result.skipped
            log.info("%s does not apply: %s", scheme, result.skipped)
            continue
        twin, said = _write_twin(scheme, model, folder, calibration, profile.numerics)
        notes += said
        files.append(_examine(scheme, path, inputs, reference, profile, twin))
    listen(Tick("scheme", len(schemes), len(schemes), "all written"))
    return Quantized(files=tuple(files), skipped=skipped, notes=notes)


def _calibration(
    data: Path | None, preprocessing: Preprocessing, count: int, classes: int, seed: int, tables: Path
) -> tuple[CalibrationData | None, tuple[str, ...]]:
    """A seeded sample of the training split; of images checked against the range of what the teacher was scored on.

    Whether it has every class is looked at where all of train is labelled.
    """
    if data is None:
        return None, ()
    train, scored = open_split(data, "train"), open_split(data, "val")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(train))[:count])
    prepare = partial(normalise, how=preprocessing)
    calibration = CalibrationData(train.inputs, chosen, prepare, tables)
    labels = train.labels
    by_class = labels is not None and labels.dtype.kind != "f" and len(labels) == len(train)
    warnings = check_calibration(
        calibration,
        np.asarray(labels, np.int64)[chosen] if by_class else None,
        classes=classes,
        teacher_range=None
        if preprocessing.identity
        else CalibrationData(scored.inputs[:count], prepare=prepare).value_range(),
    )
    return calibration, warnings


def _no_runtime(scheme: str, profile: DeviceProfile) -> SchemeResult | None:
    """Why nothing would run the scheme's file: no runtime of the device may, or it is not installed here."""
    able = runs_in(scheme, profile)
    if any(RUNTIMES[name].available() for name in able):
        return None
    if able:
        reasons = [f"{able[0]} is not installed here; {RUNTIMES[able[0]].install} adds it"]
    else:
        reasons = [str(offered(scheme, name, profile)) for name in profile.runtimes]
    return SchemeResult(scheme=scheme, skipped="; ".join(reasons))


def _write(
    scheme: str, model: Path, path: Path, calibration: CalibrationData | None, numerics: Numerics
) -> SchemeResult:
    """Write the file; a scheme that cannot take this model is skipped, except fp32, on which all else rests."""
    try:
        return SCHEMES[scheme](model, path, calibration=calibration, numerics=numerics)
    except BadInput as error:
        if scheme == "fp32":
            raise
        return SchemeResult(scheme=scheme, skipped=str(error))


def _write_twin(
    scheme: str, model: Path, folder: Path, calibration: CalibrationData | None, numerics: Numerics
) -> tuple[str | None, tuple[str, ...]]:
    """The name of the twin where one is needed, and a note where it could not be written."""
    other = twin_numerics(numerics)
    if scheme != "int8_static" or other is None:
        return None, ()
    path = folder / f"{scheme}.twin.onnx"
    result = _write(scheme, model, path, calibration, other)
    if result.skipped:
        return None, (f"{scheme} is timed here in kernels that are not the device's, without a twin: {result.skipped}",)
    return path.name, ()


def _examine(
    scheme: str,
    path: Path,
    inputs: npt.NDArray[Any],
    reference: tuple[npt.NDArray[np.float32], ...],
    profile: DeviceProfile,
    twin: str | None,
) -> SchemeFile:
    """Load and run the file; a broken one is a result with a reason, not an exception.

    Its signal is taken in the first runtime in which it may compete, in the precision that it is run in there.
    """
    runtime = next(name for name in runs_in(scheme, profile) if RUNTIMES[name].available())
    options = on_this_machine(session_options(scheme, runtime, profile))
    signal: float | None = None
    operators: dict[str, int] = {}
    try:
        said = predict_all(path, [inputs], runtime=runtime, options=options)
        # The worst output's: joined, large numbers such as pixels would drown the noise of small ones.
        signal = min(sqnr_db(exact, actual) for exact, actual in zip(reference, said, strict=True))
        operators = operators_left(path, arm=profile.numerics.activations == "int8")
        rejected = check_signal(signal)
    except BadInput as error:
        rejected = str(error)
    return SchemeFile(
        scheme=scheme,
        file=path.name,
        sha256=file_sha256(path),
        size_kib=round(path.stat().st_size / 1024, 1),
        sqnr_db=signal,
        operators=operators,
        twin=twin,
        rejected=rejected,
    )
