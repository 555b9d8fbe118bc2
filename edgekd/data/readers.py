"""From what `--data` names to a `Source`: one table of readers, and what the labels mean that they all share."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgekd.data.boxes import as_boxes, reordered
from edgekd.data.class_folders import holds_files
from edgekd.data.classes import listed, order_of, read_classes
from edgekd.data.coco import has_annotations, read_coco
from edgekd.data.factory import read_factory
from edgekd.data.image import SUFFIXES as IMAGE_SUFFIXES
from edgekd.data.image_folder import read_image_folder
from edgekd.data.npz import read_npy, read_npz
from edgekd.data.reading import Reading
from edgekd.data.shards import is_shards, read_shards
from edgekd.data.source import Kind, Labels, Part, Source, as_classes, joined
from edgekd.data.table_file import is_table, read_tables
from edgekd.data.wav import SUFFIXES as WAV_SUFFIXES
from edgekd.data.wav_folder import read_wav_folder
from edgekd.errors import BadInput

LabelKind = Literal["classes", "numbers", "boxes"]
FORMS = (
    "a folder of class folders of images or WAV files, a folder with a coco.json or of .tar shards, a .npz, .npy, "
    ".csv, .tsv or .parquet file, or file.py:make"
)


def open_source(
    source: str,
    *,
    classes_file: Path | None = None,
    order: tuple[str, ...] | None = None,
    task: str | None = None,
    reading: Reading | None = None,
    trust_code: bool = True,
) -> Source:
    """Look at a data set and put its labels in the order of the model's outputs: of `classes_file`, else of `order`.

    `task` says what labels mean: integers are class indices unless it is "regression", numbers are boxes if it is
    "detection", and for "generic" there are none. `reading` is how tables are read. Raises BadInput where the data do
    not exist, have no known form, disagree with `classes_file` or `task`, are text without a tokenizer, or would run
    code although `trust_code` is False.
    """
    kind = kind_of(source)
    if kind == "factory" and not trust_code:
        raise BadInput(f"{source} would run code; name it on the command line with --data, or give --trust")
    reading = reading or Reading()
    found = _encoded(source, READERS[kind](source, reading), reading)
    if found.unlabelled is not None and not found.labelled:
        raise BadInput(f"{source} has unlabelled samples apart but no labels at all; put them into train")
    if task == "generic" and found.labelled:
        parts = {name: replace(part, labels=lambda: None) for name, part in found.parts.items()}
        if found.unlabelled is not None:
            parts["train"] = joined(parts["train"], found.unlabelled)
        note = "the labels were not read, because --task generic is scored by fidelity to the teacher"
        found = replace(found, parts=parts, unlabelled=None, labelled=False, notes=(*found.notes, note))
    if found.boxes and task in ("classification", "regression"):
        raise BadInput(f"{source} has boxes for labels, which --task {task} does not know; leave --task out")
    if task == "detection" and found.labelled and not found.boxes:
        found = as_boxes(found, source)
    wanted = read_classes(classes_file) if classes_file is not None else order
    mapping: npt.NDArray[np.int64] | None = None
    if wanted is not None:
        mapping, notes = order_of(found.classes, wanted, str(classes_file or "of the model"))
        found = replace(found, classes=wanted, notes=(*found.notes, *notes))
    if found.boxes:
        parts = {name: reordered(part, mapping, found.classes) for name, part in found.parts.items()}
    else:
        parts = {name: _interpreted(part, f"{source}: {name}", mapping, task) for name, part in found.parts.items()}
    if found.classes is not None and len(set(found.classes)) < len(found.classes):
        raise BadInput(f"{source} names a class twice among {listed(found.classes)}; give every class its own name")
    _check_names(found.classes or (), source)
    return replace(found, parts=parts)


def _check_names(classes: tuple[str, ...], source: str) -> None:
    """Refuse class names that no line of a text file can hold. Raises BadInput."""
    for name in classes:
        if len(name.splitlines()) != 1 or not name.isprintable():
            raise BadInput(f"{source} names a class {listed([name])}; names are one line of printable characters")


def kind_of(source: str) -> Kind:
    """Tell which reader a `--data` value needs. Raises BadInput where none does, or there is no such file."""
    head, colon, function = source.rpartition(":")
    if colon and head.endswith(".py") and function.isidentifier():
        return "factory"
    path = Path(source)
    if not path.exists():
        raise BadInput(f"data {source!r} does not exist; give {FORMS}")
    if path.is_dir():
        return _kind_of_folder(path)
    if is_table(path):
        return "table"
    if is_shards(path):
        return "shards"
    if path.suffix.lower() in (".npz", ".npy"):
        return "npz" if path.suffix.lower() == ".npz" else "npy"
    raise BadInput(f"data {source!r} is of no known form; give {FORMS}")


def _kind_of_folder(path: Path) -> Kind:
    """Samples of their own come before a table, which may be a list of them. Raises BadInput beside tar shards."""
    if has_annotations(path):
        return "coco"
    images = holds_files(path, IMAGE_SUFFIXES)
    sounds = not images and holds_files(path, WAV_SUFFIXES)
    if is_shards(path):
        if images or sounds or is_table(path):
            raise BadInput(f"{str(path)!r} holds .tar files beside other data; move one of both away")
        return "shards"
    if not images and not sounds and is_table(path):
        return "table"
    return "wav folder" if sounds else "image folder"


def label_form(source: Source) -> tuple[LabelKind, tuple[int, ...]] | None:
    """What the labels are, and the shape of one; None without any. Raises BadInput where splits differ in that."""
    found: dict[str, tuple[LabelKind, tuple[int, ...]]] = {}
    for name, part in source.parts.items():
        labels = part.labels() if source.labelled else None
        if labels is not None:
            kind: LabelKind = "numbers" if labels.dtype.kind == "f" else "classes"
            found[name] = ("boxes" if source.boxes else kind, labels.shape[1:])
    if len(set(found.values())) > 1:
        told = ", ".join(f"{name} {kind} of shape {shape}" for name, (kind, shape) in found.items())
        raise BadInput(f"labels of the splits differ: {told}; store them alike, classes as integers, numbers as floats")
    return next(iter(found.values()), None)


def largest_label(source: Source) -> int | None:
    """The highest class index in any split, or None without any. Raises BadInput where it has no class name."""
    form = label_form(source)
    if form is None or form[0] != "classes":
        return None
    largest = -1
    for name, part in source.parts.items():
        labels = part.labels()
        highest = int(labels.max()) if labels is not None and len(labels) else -1
        if source.classes is not None and highest >= len(source.classes):
            raise BadInput(
                f"{name} has label {highest} but there are {len(source.classes)} class names "
                f"({listed(source.classes)}); labels count from 0"
            )
        largest = max(largest, highest)
    return largest


def _encoded(source: str, found: Source, reading: Reading) -> Source:
    """The source with its text as token ids, which are ready-made inputs."""
    if not found.text:
        return found
    encode = reading.encode
    if encode is None:
        raise BadInput(
            f"{source} holds text ({listed(found.text)}), which the model's own tokenizer must read; give "
            "--tokenizer FILE"
        )

    def encoded(part: Part) -> Part:
        def ids(at: int) -> npt.NDArray[np.int64]:
            try:
                return encode(part.fetch(at))
            except BadInput as error:
                raise BadInput(f"{part.name(at)}: {error}") from None

        return replace(part, fetch=ids)

    parts = {name: encoded(part) for name, part in found.parts.items()}
    return replace(found, parts=parts, unlabelled=found.unlabelled and encoded(found.unlabelled), text=())


def _interpreted(part: Part, where: str, mapping: npt.NDArray[np.int64] | None, task: str | None) -> Part:
    """The part with its labels as the task takes them, classes turned into indices of the wanted order."""

    @cache
    def labels() -> Labels | None:
        own = part.labels()
        if own is None:
            return None
        if task == "regression":
            return own.astype(np.float32)
        if own.dtype.kind == "f" and task is None:
            return own
        classes = as_classes(own, where)
        if mapping is None:
            return classes
        if len(classes) and int(classes.max()) >= len(mapping):
            raise BadInput(f"label {int(classes.max())} has no name: the data name {len(mapping)} classes, from 0 up")
        return np.asarray(mapping[classes])

    return replace(part, labels=labels)


READERS: dict[Kind, Callable[[str, Reading], Source]] = {
    "image folder": lambda source, reading: read_image_folder(source),
    "wav folder": lambda source, reading: read_wav_folder(source),
    "npz": lambda source, reading: read_npz(source),
    "npy": lambda source, reading: read_npy(source),
    "shards": lambda source, reading: read_shards(source),
    "coco": lambda source, reading: read_coco(source),
    "factory": lambda source, reading: read_factory(source),
    "table": read_tables,
}
