"""Images with boxes, as COCO writes them: coco.json, or train.json, val.json and test.json, and the images.

These lie in images/ or beside the file. Where there is one file, its key "split" may say which images, by id or file
name, belong to train, val and test. Images in a folder `unlabelled` need no annotations.
"""

import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.data.class_folders import SPLIT_FOLDERS, unlabelled_files
from edgekd.data.classes import listed
from edgekd.data.image import DECODE_ERRORS, look_at, open_image
from edgekd.data.image_folder import IMAGES
from edgekd.data.source import SPLIT_NAMES, Part, Source, SplitName
from edgekd.errors import BadInput

MOST_BYTES = 1 << 30
"""Of one annotation file; COCO's own of 118,000 images has 0.45 GiB."""
MOST_CLASSES, MOST_OBJECTS = 1000, 1000
"""Objects are of one image."""
MOST_LABEL_BYTES = 4 << 30
SLACK = 1.0
"""Pixels by which a box may stand out of its image, as rounding does; it is cut."""


@dataclass(frozen=True)
class _Image:
    """An image, its (height, width), and its rows of truth (objects, classes + 4)."""

    path: Path
    size: tuple[float, float]
    objects: list[npt.NDArray[np.float32]]


@dataclass(frozen=True)
class _Annotations:
    """One file: class names in the order of their ids, images by id, how many annotations are of no single object, and
    its key "split" as it came."""

    classes: tuple[str, ...]
    images: dict[int, _Image]
    left_out: int
    split: Any


def has_annotations(root: Path) -> bool:
    """Whether a folder holds boxes as COCO writes them."""
    return bool(_files(root))


def read_coco(source: str) -> Source:
    """Read a folder's boxes and list its images; nothing is decoded, but every image's size is looked at.

    Raises BadInput where the file is not what it says, an image lies outside of the folder, or a box outside of its
    image.
    """
    root = Path(source)
    files = _files(root)
    read = {name: _read(path, root) for name, path in files.items()}
    names = {file.classes for file in read.values()}
    if len(names) > 1:
        raise BadInput(f"{source}: the annotation files have different categories; they must be the same in each")
    classes = names.pop()
    left_out = sum(file.left_out for file in read.values())
    notes = [f"{left_out} annotations of empty boxes or of crowds were not read as objects"] * (left_out > 0)
    if None in files:
        images, said = _divided(str(files[None]), read[None])
        notes += said
    else:
        images = {name: list(file.images.values()) for name, file in read.items() if name is not None}
    if not images.get("train"):
        raise BadInput(f"{source} has no train images; name them under split, or give a train.json")
    most = max(1, *(len(image.objects) for part in images.values() for image in part))
    count = sum(map(len, images.values()))
    if 4 * count * most * (len(classes) + 4) > MOST_LABEL_BYTES:
        raise BadInput(
            f"{source}: {count} images of up to {most} objects in {len(classes)} classes are more labels than fit; "
            "give fewer images or classes"
        )
    parts = {name: _part(images[name], most, len(classes), root) for name in SPLIT_NAMES if name in images}
    unlabelled = unlabelled_files(root, IMAGES)
    return Source("coco", parts, True, classes, tuple(notes), boxes=True, unlabelled=unlabelled)


def _files(root: Path) -> dict[SplitName | None, Path]:
    """Annotation files by the split that their name says; None for the one that is of all."""
    if (root / "coco.json").is_file():
        return {None: root / "coco.json"}
    found: dict[SplitName | None, Path] = {}
    for folder in (root, root / "annotations"):
        for path in sorted(folder.glob("*.json")):
            name = re.sub(r"^instances_|\d+$", "", path.stem).lower()
            if name in SPLIT_FOLDERS:
                if SPLIT_FOLDERS[name] in found:
                    raise BadInput(f"{str(root)!r} has two annotation files of {name}; keep one")
                found[SPLIT_FOLDERS[name]] = path
    alone = sorted((root / "annotations").glob("*.json"))
    return found or ({None: alone[0]} if len(alone) == 1 else {})


def _read(path: Path, root: Path) -> _Annotations:
    whole = _json(path)
    where = str(path)
    categories = _by_id(where, whole, "categories")
    classes = tuple(str(category.get("name", "")) for category in categories.values())
    if not classes or len(classes) > MOST_CLASSES or len(set(classes)) < len(classes) or "" in classes:
        raise BadInput(f"{where}: 1 to {MOST_CLASSES} categories with a name each are wanted, not {listed(classes)}")
    index = {category: at for at, category in enumerate(categories)}
    images = {id: _image(image, where, root) for id, image in _by_id(where, whole, "images").items()}
    seen = [image.path for image in images.values()]
    if len(set(seen)) < len(seen):
        raise BadInput(f"{where} lists an image file twice; list every image once, with all its boxes")
    left_out = 0
    for at, annotation in enumerate(_list(where, whole, "annotations")):
        here = f"{where}: annotation {at}"
        image, kind = (annotation.get(key) for key in ("image_id", "category_id"))
        if not isinstance(image, int) or image not in images:
            raise BadInput(f"{here} is of image {listed([str(image)])}, which is not among the images")
        if not isinstance(kind, int) or kind not in index:
            raise BadInput(f"{here} is of category {listed([str(kind)])}, which is not among the categories")
        box = _box(annotation.get("bbox"), images[image].size, here)
        if box is None or annotation.get("iscrowd") == 1:
            left_out += 1
            continue
        row = np.zeros(len(classes) + 4, np.float32)
        row[index[kind]], row[-4:] = 1, box
        images[image].objects.append(row)
        if len(images[image].objects) > MOST_OBJECTS:
            raise BadInput(f"{where}: image {image} has over {MOST_OBJECTS} objects; remove some")
    return _Annotations(classes, images, left_out, whole.get("split"))


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"annotations {str(path)!r} cannot be read as JSON: {str(error)[:120]}") from error
    if not isinstance(found, dict):
        raise BadInput(f"annotations {str(path)!r} hold no object with images, annotations and categories")
    return found


def _list(where: str, whole: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = whole.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise BadInput(f"{where}: {key} must be a list of objects, as COCO writes it")
    return found


def _by_id(where: str, whole: dict[str, Any], key: str) -> dict[int, dict[str, Any]]:
    """Entries by their id, in its order."""
    found: dict[int, dict[str, Any]] = {}
    for at, entry in enumerate(_list(where, whole, key)):
        id = entry.get("id")
        if not isinstance(id, int) or isinstance(id, bool) or id in found:
            raise BadInput(f"{where}: {key}[{at}] has the id {listed([str(id)])}; every id is an integer of its own")
        found[id] = entry
    return dict(sorted(found.items()))


def _image(entry: dict[str, Any], where: str, root: Path) -> _Image:
    """Find the file, which must be a regular one inside of the folder, and hold the stated size against its own."""
    name = entry.get("file_name")
    told = listed([str(name)])
    if not isinstance(name, str) or not name or "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise BadInput(f"{where}: file_name {told} is no path inside of the data's folder")
    inside = Path(os.path.realpath(root))
    path = next((found for folder in ("images", "") if (found := root / folder / name).is_file()), None)
    if path is None:
        raise BadInput(f"{where}: there is no image {told} in images/ or beside it")
    if path.is_symlink() or not Path(os.path.realpath(path)).is_relative_to(inside):
        raise BadInput(f"{where}: image {told} is a link or lies behind one; put the file itself into the folder")
    stated = tuple(entry.get(side) for side in ("height", "width"))
    try:
        size = look_at(path)[:2]
    except DECODE_ERRORS:  # which is counted when it fails to decode
        return _Image(path, (math.inf, math.inf), [])
    if stated != (None, None) and stated != size:
        raise BadInput(
            f"{where}: image {told} is said to be {listed([str(stated[0])])} x {listed([str(stated[1])])} (height x "
            f"width) and is {size[0]} x {size[1]} when upright; boxes must be those of the image as it is"
        )
    return _Image(path, size, [])


def _box(bbox: Any, size: tuple[float, float], where: str) -> npt.NDArray[np.float64] | None:
    """x, y, width, height in pixels to x1, y1, x2, y2 in shares of the image; None for a box without an area."""
    numbers = isinstance(bbox, list) and len(bbox) == 4
    usable = numbers and all(type(value) in (int, float) and abs(value) < 1e9 for value in bbox)
    if not usable or min(bbox[2:]) < 0:
        raise BadInput(f"{where} has the bbox {listed([str(bbox)])}; x, y, width and height in pixels are wanted")
    x, y, width, height = map(float, bbox)
    box = np.array([x, y, x + width, y + height])
    limit = np.array([size[1], size[0]] * 2)
    if (box < -SLACK).any() or (box > limit + SLACK).any():
        raise BadInput(
            f"{where} has a box from {box[0]:g}, {box[1]:g} to {box[2]:g}, {box[3]:g}, which is outside of its image "
            f"of {size[0]} x {size[1]} (height x width); mend or remove it"
        )
    shares = np.clip(box, 0, limit) / limit
    return shares if (shares[2:] > shares[:2]).all() else None


def _divided(where: str, file: _Annotations) -> tuple[dict[SplitName, list[_Image]], list[str]]:
    """The images by split, as the file says, or all of them train; with a sentence where some are in none."""
    split, images = file.split, file.images
    if split is None:
        return {"train": list(images.values())}, []
    if not isinstance(split, dict) or not all(isinstance(members, list) for members in split.values()):
        raise BadInput(f"{where}: split must be lists of image ids or file names by train, val and test")
    by_name = {image.path.name: id for id, image in images.items()}
    left, found = dict(images), dict[SplitName, list[_Image]]()
    for name, members in split.items():
        if name.lower() not in SPLIT_FOLDERS or SPLIT_FOLDERS[name.lower()] in found:
            raise BadInput(f"{where}: split has the part {listed([name])}; train, val and test are known, each once")
        found[SPLIT_FOLDERS[name.lower()]] = list(_taken(members, left, by_name, f"{where}: split {listed([name])}"))
    return found, [f"{len(left)} images that are in no split were not read"] * bool(left)


def _taken(members: list[Any], left: dict[int, _Image], by_name: dict[str, int], where: str) -> Iterable[_Image]:
    for member in members:
        id = by_name.get(member) if isinstance(member, str) else member
        if not isinstance(id, int) or id not in left:
            raise BadInput(f"{where} has {listed([str(member)])}, which is no image, or in a split already")
        yield left.pop(id)


def _part(images: list[_Image], most: int, classes: int, root: Path) -> Part:
    labels = np.zeros((len(images), most, classes + 4), np.float32)
    for row, image in zip(labels, images, strict=True):
        row[: len(image.objects)] = np.array(image.objects).reshape(-1, classes + 4)
    return Part(
        count=len(images),
        fetch=lambda at: open_image(images[at].path),
        name=lambda at: images[at].path.relative_to(root).as_posix(),
        labels=lambda: labels,
        look=lambda at: look_at(images[at].path),
    )
