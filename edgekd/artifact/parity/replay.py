"""Running every graph of an artifact on the parity vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edgekd.artifact.parity.answers import Vector, differences
from edgekd.artifact.parity.files import (
    MAX_TEXT,
    Parity,
    read_bounded,
    read_parity,
    read_raw,
    read_tensors,
    relative_difference,
)
from edgekd.errors import BadInput, reason_of
from edgekd.external_data import data_file
from edgekd.formats.onnx_file import external_files, onnx_outputs
from edgekd.formats.zip_members import shown
from edgekd.record import Record
from edgekd.runtimes import RUNTIMES, find_runtime, in_one_line, predict_all
from edgekd.schemes.offered import on_this_machine

MODEL, APP = "model.onnx", "app.onnx"
APPS = (APP, "app.ort", "app.mapped.onnx")
"""The same graph, as it was built and as ONNX Runtime optimised it."""
OTHERS = {"model.ort": "onnxruntime", "model.mapped.onnx": "onnxruntime", "model.xml": "openvino"}
"""Further files of the same model, and what runs them."""
LABELS = "labels.txt"
Array = npt.NDArray[Any]


class Replayed(Record):
    """The graphs that gave what is expected, how far from it they were at most, relative to the largest expected
    output, and the graphs that were not run, with the reason."""

    vectors: int
    largest_difference: float
    tolerance: float
    runtime: str
    graphs: tuple[str, ...]
    left_out: dict[str, str]


def replay(folder: Path) -> Replayed:
    """Run model.onnx, and whatever else of the same model is in the artifact.

    Raises:
        BadInput: vectors or graphs that make no sense, or a graph that gives something else.
        UsageError: the runtime that the artifact was made for is not installed.
    """
    parity = read_parity(folder)
    inputs, outputs = read_tensors(folder, parity)
    files = {MODEL: parity.runtime, **{name: by for name, by in OTHERS.items() if (folder / name).is_file()}}
    for name in (MODEL, APP, "model.mapped.onnx", "app.mapped.onnx"):
        _refuse_weights_elsewhere(folder / name)
    left_out = {name: f"{by} is not installed here" for name, by in files.items() if not _can_run(name, by)}
    found = {
        name: _outputs_apart(folder / name, by, parity, inputs, outputs)
        for name, by in files.items()
        if name not in left_out
    }
    for name in APPS:
        if not (folder / APP).is_file() or not (folder / name).is_file():
            continue
        why = _replay_app(folder, name, parity, outputs[0])
        left_out |= {name: why} if why else {}
        found |= {} if why else {name: 0.0}
    return Replayed(
        vectors=len(inputs),
        largest_difference=max(found.values()),
        tolerance=parity.tolerance.output,
        runtime=parity.runtime,
        graphs=tuple(found),
        left_out=left_out,
    )


def _can_run(name: str, runtime: str) -> bool:
    """Without the runtime that model.onnx is for, there is nothing to verify with: `find_runtime` says so."""
    return name == MODEL or RUNTIMES[runtime].available()


def _refuse_weights_elsewhere(graph: Path) -> None:
    own = {data_file(graph), data_file(graph.with_name(MODEL))}
    if graph.is_file() and not own.issuperset(external_files(graph)):
        raise BadInput(f"{graph} keeps weights elsewhere than in {data_file(graph).name}; do not trust this.")


def _outputs_apart(graph: Path, runtime: str, parity: Parity, inputs: Array, outputs: Sequence[Array]) -> float:
    """The largest difference from the outputs that are expected, relative to the largest of them."""
    options = on_this_machine(parity.session) if runtime == parity.runtime else {}
    actual = predict_all(graph, [inputs], runtime=runtime, options=options)
    given, held = ([output.shape for output in side] for side in (actual, outputs))
    if given != held:
        raise BadInput(
            f"{graph} gives outputs of shape {', '.join(map(str, given))}, parity/ holds {', '.join(map(str, held))}; "
            "fetch the artifact again."
        )
    difference = max(relative_difference(kept, said) for said, kept in zip(actual, outputs, strict=True))
    if not difference <= parity.tolerance.output:
        raise BadInput(
            f"{graph} gives outputs that differ by {difference:.1%} from those in parity/, "
            f"{parity.tolerance.output:.0%} is allowed; this machine's {runtime} computes something else than was "
            "tested."
        )
    return difference


def _replay_app(folder: Path, name: str, parity: Parity, outputs: Array) -> str | None:
    """Feed a graph what an app has; return why there is nothing to hold its answers against, or None."""
    path = folder / name
    names = [output.name for output in onnx_outputs(onnx.load(folder / APP, load_external_data=False))]
    if not WANTED[parity.answer].issubset(names):
        return "the vectors hold outputs alone"
    labels = _labels(folder)
    session = find_runtime("onnxruntime").open(path)
    for at, (raw, expected) in enumerate(zip(read_raw(folder, parity), parity.vectors, strict=True)):
        try:
            said = dict(zip(names, session.run([raw]), strict=True))
        except Exception as error:  # whatever a runtime raises
            why = in_one_line(str(error))
            raise BadInput(f"{path}: onnxruntime does not run it on parity/raw{at}.npy: {why}") from error
        departs = _departs(parity, expected, said, labels, raw, outputs[at])
        if departs:
            raise BadInput(
                f"{path} {departs} for parity/raw{at}.npy; this machine's onnxruntime computes something else than was "
                "tested."
            )
    return None


def _departs(
    parity: Parity, expected: Vector, said: dict[str, Array], labels: list[str], raw: Array, output: Array
) -> str | None:
    """What is wrong with an answer of app.onnx, or None."""
    tolerance = parity.tolerance
    if parity.answer == "outputs":
        values = said["outputs"]
        if values.shape != output.shape:
            return f"gives outputs of shape {values.shape}, expected {output.shape}"
        apart = relative_difference(output, values)
        return None if apart <= tolerance.output else f"gives outputs that differ by {apart:.1%}"
    answer = _vector(said, labels)
    found = differences(expected, answer, max(raw.shape))
    if found is None:
        return f"answers {_spoken(answer)}, expected {_spoken(expected)},"
    probability, box = found
    if not probability <= tolerance.probability:
        return f"answers with a probability that differs by {probability:.2f} ({tolerance.probability:.2f} is allowed)"
    if not box <= tolerance.box:
        return f"answers with a box that is {box:.1%} of the image away ({tolerance.box:.1%} is allowed)"
    return None


def _vector(said: dict[str, Array], labels: list[str]) -> Vector:
    indices = [int(index) for index in np.ravel(said["indices"])]
    return Vector(
        indices=tuple(indices),
        labels=tuple(labels[index] if 0 <= index < len(labels) else str(index) for index in indices),
        probabilities=tuple(map(float, np.ravel(said.get("probabilities", ())))),
        scores=tuple(map(float, np.ravel(said.get("scores", ())))),
        boxes=tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in np.reshape(said.get("boxes", ()), (-1, 4)).tolist()),
    )


def _spoken(answer: Vector) -> str:
    if answer.probabilities:
        return shown(answer.labels[0])
    return f"{len(answer.boxes)} box{'es' * (len(answer.boxes) != 1)} ({', '.join(map(shown, answer.labels[:5]))})"


def _labels(folder: Path) -> list[str]:
    path = folder / LABELS
    if not path.is_file():
        return []
    try:
        return read_bounded(path, MAX_TEXT).decode("utf-8").split("\n")[:-1]
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({shown(reason_of(error))}); fetch the artifact again.") from error


WANTED: dict[str, set[str]] = {
    "classes": {"indices", "probabilities"},
    "boxes": {"indices", "scores", "boxes"},
    "outputs": {"outputs"},
}
"""Outputs of app.onnx that answers are made of."""
