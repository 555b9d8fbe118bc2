"""Writing the parity vectors: expected outputs are the pipeline's, never those of a file that ships."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.artifact.app.fed import images_as_fed
from edgekd.artifact.contract import Answer, Contract
from edgekd.artifact.parity.answers import Outputs, Vector
from edgekd.artifact.parity.choice import Chosen, Known, choose
from edgekd.artifact.parity.files import FILE, FOLDER, Parity
from edgekd.artifact.parity.raw_inputs import RawInputs, raw_inputs
from edgekd.artifact.shipped_file import precision_of, shipped_outputs
from edgekd.errors import BadInput, EdgekdError, PlaceLost
from edgekd.preprocessing import normalise
from edgekd.results import Candidate

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]
DRAWN = 64
"""Test samples from which the vectors are chosen."""
FULL_SCALE = np.float32(2.0**15)
"""Of 16-bit sounds: what an app feeds that does not bring them to -1..1."""
FIELDS: dict[Answer, set[str]] = {
    "classes": {"labels", "indices", "probabilities"},
    "boxes": {"labels", "indices", "scores", "boxes"},
    "outputs": set(),
}
"""What a vector holds in parity.json, by what is answered."""


Kernels = Callable[[Path, Array], Outputs]
"""A model file and model inputs (n, ...) to every output, each (n, ...)."""


@dataclass(frozen=True)
class Reference:
    """The model of the pipeline: `said` in words, `run` from model inputs (n, ...) to every output, each (n, ...)."""

    said: str
    run: Callable[[Array], Sequence[Array]]


def write_parity(
    folder: Path,
    contract: Contract,
    *,
    chosen: Candidate,
    reference: Reference,
    data: Path | None,
    emulated: Kernels | None = None,
) -> tuple[str, ...]:
    """Write `parity/` of the artifact in `folder`; return sentences on what the vectors do not show.

    Args:
        chosen: how model.onnx in `folder` is run.
        data: the run's splits; without any, inputs are made up.
        emulated: the target's kernels, where they are emulated; the tolerance covers what they give too.
    """
    model = folder / "model.onnx"
    shipped = partial(shipped_outputs, model, chosen)
    drawn = raw_inputs(contract, data, DRAWN)
    expected = [np.asarray(one, np.float32) for one in reference.run(drawn.inputs)][: len(contract.outputs)]
    spoiled = {name: shipped(inputs) for name, inputs in _spoiled(contract, drawn).items()}
    given = [shipped(drawn.inputs)]
    if contract.kind == "image":
        given.append(shipped(images_as_fed(drawn.raw, contract)))
    known = Known(expected, given, spoiled, drawn.sizes)
    found, answer = _chosen(contract, known)
    untold: tuple[str, ...] = ()
    if emulated:
        try:
            found, answer = _chosen_there(contract, known, found, drawn.inputs, partial(emulated, model))
        except PlaceLost:
            raise
        except EdgekdError as error:
            why = str(error).replace(str(model), model.name)
            untold = (f"The parity vectors' tolerance is this machine's alone, for the target's core fails: {why}",)
    parity = Parity(
        schema=1,
        reference=reference.said,
        runtime=chosen.runtime,
        session=precision_of(chosen),
        kind=contract.kind,
        answer=answer,
        outputs=tuple(output.name for output in contract.outputs),
        tolerance=found.tolerance,
        vectors=found.vectors,
    )
    _write(folder / FOLDER, parity, drawn, expected, list(found.samples))
    notes = (*_notes(contract, parity, found), *untold)
    for note in notes:
        log.info(note)
    return notes


def _chosen(contract: Contract, known: Known) -> tuple[Chosen, Answer]:
    """The vectors and what they hold: outputs alone where the answer is in doubt for every sample."""
    outputs: Answer = "outputs"
    for answer in (contract.answer, outputs):
        found = choose(contract.model_copy(update={"answer": answer}), known)
        if found is not None:
            return found, answer
    raise BadInput("There is no test sample to make parity vectors of; give data with a test split.")


def _chosen_there(
    contract: Contract, known: Known, found: Chosen, inputs: Array, kernels: Callable[[Array], Outputs]
) -> tuple[Chosen, Answer]:
    """Of the vectors found here, those on which other kernels agree too, with a tolerance that covers them."""
    first = list(found.samples)
    kept, answer = _chosen(contract, known.only(first, kernels(inputs[first])))
    return replace(kept, samples=tuple(first[at] for at in kept.samples)), answer


def _spoiled(contract: Contract, drawn: RawInputs) -> dict[str, Array]:
    """Model inputs as an app makes them that does one thing wrongly, by what that is."""
    if contract.kind == "sound":
        return {"16-bit samples as they are": drawn.inputs * FULL_SCALE}
    if contract.tokens:
        lower = np.maximum(drawn.inputs - 1, 0)
        return {"token ids shifted by one": np.where(drawn.inputs == contract.tokens.pad, drawn.inputs, lower)}
    if contract.kind != "image":
        return {}
    other = {"0..1": "0..255", "0..255": "0..1"}[contract.scale]
    unscaled = contract.model_copy(update={"scale": other})
    spoiled = {f"pixels of {other} in place of {contract.scale}": normalise(drawn.fitted, unscaled)}
    if contract.channels == 3:
        spoiled["channels reversed"] = normalise(drawn.fitted[..., ::-1], contract)
    return spoiled


def _write(folder: Path, parity: Parity, drawn: RawInputs, expected: Outputs, samples: list[int]) -> None:
    folder.mkdir()
    left_out = set(Vector.model_fields) - FIELDS[parity.answer]
    text = parity.model_dump_json(indent=1, by_alias=True, exclude={"vectors": {"__all__": left_out}})
    (folder / FILE).write_text(f"{text}\n", encoding="utf-8")
    arrays = {"input": drawn.inputs[samples]}
    arrays |= {f"output{at}": one[samples] for at, one in enumerate(expected)}
    arrays |= {f"raw{at}": drawn.raw[sample] for at, sample in enumerate(samples)}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)


def _notes(contract: Contract, parity: Parity, found: Chosen) -> tuple[str, ...]:
    """What the vectors do not show, so that nobody relies on it."""
    notes = [f"Parity vectors do not catch an app that feeds or names wrongly: {one}." for one in found.not_caught]
    if parity.answer != contract.answer:
        notes.append(
            "Parity vectors hold outputs alone, because of no sample the answer is beyond doubt: the shipped file and "
            f"{parity.reference} answer too differently."
        )
    return tuple(notes)
