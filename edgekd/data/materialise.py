"""From what `--data` names to arrays on disk as the model wants them: train, val and test, never overlapping."""

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgekd.data.choice import Choice, choose
from edgekd.data.classes import check_classes, listed
from edgekd.data.decode import Tally, check_skipped, decoded_rows
from edgekd.data.readers import largest_label, open_source
from edgekd.data.reading import Reading
from edgekd.data.rows import RowWriter, disk_full
from edgekd.data.source import SPLIT_NAMES, Kind, Source, SplitName
from edgekd.data.split import open_split
from edgekd.errors import BadInput
from edgekd.preprocessing import Preprocessing
from edgekd.progress import Listener, silent
from edgekd.record import Record

__all__ = ["DataManifest", "check_classes", "materialise", "open_split"]

DECODERS = 2
_WHAT: dict[Kind, str] = {"wav folder": "WAV files"}


class DataManifest(Record):
    """What was written, and how it came about; `manifest.json` beside the arrays."""

    kind: Kind
    counts: dict[SplitName, int]
    unlabelled: int = 0
    """How many samples of train, its last ones, have no label although the others have."""
    shape: tuple[int, ...]
    """(height, width, channels) of a stored image, or the shape of one ready-made input, of any rank."""
    dtype: Literal["uint8", "float32", "int64"]
    """As stored: uint8 for images, else that of ready-made inputs."""
    classes: tuple[str, ...] | None
    labelled: bool
    largest_label: int | None
    split_origin: dict[SplitName, str]
    skipped: int
    skipped_examples: tuple[str, ...]
    duplicates: int
    fingerprint: str
    """SHA-256 over the content of all splits and the class names."""
    digests: dict[SplitName, str]
    notes: tuple[str, ...]


def materialise(
    source: str,
    folder: Path,
    how: Preprocessing,
    *,
    target_shape: tuple[int, ...] | None = None,
    classes_file: Path | None = None,
    order: tuple[str, ...] | None = None,
    task: str | None = None,
    reading: Reading | None = None,
    seed: int = 0,
    max_skipped: float = 0.01,
    trust_code: bool = True,
    progress: Listener = silent,
) -> DataManifest:
    """Write `train_inputs.npy`, `train_labels.npy` and so on, and last `manifest.json`, into `folder`.

    Images are uint8 (n, height, width, channels), resized as `how` says; sounds float32 (n, samples) at its rate and
    length; ready-made inputs float32 or int64 (n, ...). Labels are class indices int64 (n,), numbers float32
    (n, *target_shape), or boxes float32 (n, objects, classes + 4) in pixels of the stored image. Train is shuffled, so
    that any head of it is a fair sample of what has labels, and what has none comes after that; other splits keep
    their order. An input that also is in test or val (equal as stored) is removed from train, and one of val that also
    is in test from val; an unlabelled one that train has with a label is left out.

    Args:
        source: folder, .npz file, table, or file.py:make (whose code is run).
        target_shape: of one sample's outputs, which labels that are numbers are brought to; None leaves them.
        classes_file: class names in the order of the model's outputs, one a line.
        order: the same names, where there is no file; None takes the data's own order.
        task: what labels mean, as `open_source` takes it.
        reading: how a table is read.
        seed: decides splits that the data do not bring, and the order of train.
        max_skipped: share of all files that may fail to decode, of the labelled and of the unlabelled ones each.
        trust_code: False refuses file.py:make.

    Raises:
        BadInput: the data cannot be used as they are; nothing is left under a final name.
        EdgekdError: the disk is full.
    """
    found = open_source(
        source, classes_file=classes_file, order=order, task=task, reading=reading, trust_code=trust_code
    )
    largest = largest_label(found)
    choice = choose(found, seed, target_shape, how)
    shape = how.shape if how.identity else (*how.shape[1:], how.shape[0])
    dtype: Literal["uint8", "float32", "int64"] = how.dtype if how.identity else "uint8"
    tally = Tally(choice.count, max_skipped, _WHAT.get(found.kind, "images"), choice.further)
    _check_room(folder, tally.total * int(np.prod(shape)) * np.dtype(dtype).itemsize)
    _clear(folder)
    with ExitStack() as stack:
        decoders = stack.enter_context(ThreadPoolExecutor(DECODERS if found.thread_safe else 1))
        inputs, labels = _writers(stack, folder, choice, shape, dtype)
        for name in reversed(SPLIT_NAMES):
            rows = decoded_rows(choice.splits[name], decoders, how, tally, progress)
            if name == "train" and choice.unlabelled is not None:
                rows = itertools.chain(rows, decoded_rows(choice.unlabelled, decoders, how, tally, progress))
            _write(name, rows, inputs[name], labels.get(name), tally)
        check_skipped(tally, final=True)
    digests = {name: _joined_digest(inputs[name], labels.get(name)) for name in SPLIT_NAMES}
    unlabelled = inputs["train"].count - labels["train"].count if labels else 0
    manifest = DataManifest(
        kind=found.kind,
        counts={name: inputs[name].count for name in SPLIT_NAMES},
        unlabelled=unlabelled,
        shape=shape,
        dtype=dtype,
        classes=found.classes,
        labelled=found.labelled,
        largest_label=largest,
        split_origin=choice.origin,
        skipped=len(tally.skipped),
        skipped_examples=tuple(tally.skipped[:3]),
        duplicates=tally.duplicates,
        fingerprint=hashlib.sha256(json.dumps([digests, found.classes], sort_keys=True).encode()).hexdigest(),
        digests=digests,
        notes=(*found.notes, *_unlabelled(unlabelled, inputs["train"].count), *_notes(folder, found, tally, how)),
    )
    _write_manifest(folder, manifest)
    return manifest


def _writers(
    stack: ExitStack, folder: Path, choice: Choice, shape: tuple[int, ...], dtype: str
) -> tuple[dict[SplitName, RowWriter], dict[SplitName, RowWriter]]:
    """Files that take their final names together, when all splits are written."""
    inputs = {n: stack.enter_context(RowWriter(folder / f"{n}_inputs.npy", shape, dtype)) for n in SPLIT_NAMES}
    labels = {
        name: stack.enter_context(RowWriter(folder / f"{name}_labels.npy", one.labels.shape[1:], one.labels.dtype))
        for name, one in choice.splits.items()
        if one.labels is not None
    }
    return inputs, labels


def _write(
    name: SplitName,
    rows: Iterator[tuple[npt.NDArray[Any], Any]],
    inputs: RowWriter,
    labels: RowWriter | None,
    tally: Tally,
) -> None:
    own: set[bytes] = set()
    for row, label in rows:
        digest = hashlib.blake2b(row.tobytes(), digest_size=16).digest()
        if digest in tally.seen:
            tally.duplicates += 1
            continue
        if labels is None or label is not None:
            own.add(digest)
        elif digest in own:
            tally.labelled_too += 1
            continue
        inputs.append(row)
        if labels is not None and label is not None:
            labels.append(np.asarray(label))
    kept = inputs if labels is None else labels
    if kept.count == 0:
        check_skipped(tally, final=True)
        what = "labelled sample" if inputs.count else "sample"
        raise BadInput(
            f"no {what} is left in {name}: every one that decodes also is in another split; give {name} samples of its "
            "own, or leave a split out to have it taken from train"
        )
    tally.seen |= own


def _check_room(folder: Path, needed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < needed:
        raise disk_full(folder)


def _clear(folder: Path) -> None:
    (folder / "manifest.json").unlink(missing_ok=True)
    for name in SPLIT_NAMES:
        (folder / f"{name}_inputs.npy").unlink(missing_ok=True)
        (folder / f"{name}_labels.npy").unlink(missing_ok=True)


def _joined_digest(inputs: RowWriter, labels: RowWriter | None) -> str:
    return hashlib.sha256(f"{inputs.sha256} {labels.sha256 if labels else None}".encode()).hexdigest()


def _unlabelled(count: int, train: int) -> tuple[str, ...]:
    if not count:
        return ()
    return (
        f"{count} of {train} training samples are unlabelled: the teacher alone teaches on them, and the control makes "
        "its steps without them",
    )


def _notes(folder: Path, source: Source, tally: Tally, how: Preprocessing) -> Iterator[str]:
    if tally.skipped:
        named = "; ".join(tally.skipped[:3])
        yield f"{len(tally.skipped)} of {tally.total} {tally.what} were skipped because they do not decode: {named}"
    if tally.resampled:
        yield f"{len(tally.resampled)} of {tally.total} {tally.what} were resampled to {how.sample_rate} Hz"
    if tally.duplicates:
        what, same = ("inputs", "values") if how.identity else ("images", "pixels")
        yield (
            f"{tally.duplicates} {what} removed from train or val because the same {same} are in a split held out from "
            "them"
        )
    if tally.labelled_too:
        yield f"{tally.labelled_too} unlabelled samples were left out because train has the same ones with a label"
    trained, tested = (open_split(folder, name).labels for name in ("train", "test"))
    if trained is not None and tested is not None and tested.dtype.kind != "f":
        missing = sorted(set(tested.tolist()) - set(trained.tolist()))
        lost = [source.classes[at] if source.classes else str(at) for at in missing]
        if lost:
            yield f"classes in test without a training sample: {listed(lost)}"


def _write_manifest(folder: Path, manifest: DataManifest) -> None:
    partial = folder / ".manifest.json.partial"
    partial.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    os.replace(partial, folder / "manifest.json")
