"""Files in folders: train/CLASS/*, optional val/CLASS/* and test/CLASS/*; or CLASS/*; or files alone, unlabelled.

Beside train there may be a folder `unlabelled` of files at any depth.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekd.data.classes import listed
from edgekd.data.source import SPLIT_NAMES, UNLABELLED, Kind, Part, Source, SplitName, unlabelled_among
from edgekd.errors import BadInput

SPLIT_FOLDERS: dict[str, SplitName] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True)
class FileType:
    """What the files are called in messages and end in, how one is decoded, and what its header tells."""

    what: str
    suffixes: frozenset[str]
    fetch: Callable[[Path], Any]
    look: Callable[[Path], Any]


def read_class_folders(source: str, kind: Kind, files: FileType) -> Source:
    """List a folder's files of this type and their classes; nothing is decoded.

    Hidden files and files with another suffix are passed over. Raises BadInput where there are none, a class folder is
    empty, files lie beside class folders, or splits disagree about the classes.
    """
    root = Path(source)
    folders, notes = _split_folders(root)
    trees = {name: _tree(folder, files) for name, folder in folders.items()}
    labelled = {name: None not in tree for name, tree in trees.items()}
    if len(set(labelled.values())) > 1:
        with_classes = next(name for name in trees if labelled[name])
        without = next(name for name in trees if not labelled[name])
        raise BadInput(
            f"{str(root)!r}: {without} has {files.what} without class folders but {with_classes} has class folders; "
            "use class folders in every split, or in none"
        )
    classes = _classes(root, trees) if labelled["train"] else None
    parts = {name: _part(root, trees[name], classes, files) for name in SPLIT_NAMES if name in trees}
    # Without a folder named train, a class may be called unlabelled.
    unlabelled = None if folders["train"] == root else unlabelled_files(root, files)
    return Source(kind, parts, labelled["train"], classes, notes, unlabelled=unlabelled)


def unlabelled_files(root: Path, files: FileType) -> Part | None:
    """Files at any depth in the folder `unlabelled`, or None without one. Raises BadInput where it holds none."""
    name = unlabelled_among((folder.name for folder in _visible_folders(root)), repr(str(root)))
    if name is None:
        return None
    found = _files_below(root / name, files.suffixes)
    if not found:
        raise _none_in(root / name, files)
    return _part(root, {None: found}, None, files)


def holds_files(root: Path, suffixes: frozenset[str]) -> bool:
    """Whether a file that ends so lies anywhere below; hidden files and links to folders do not count."""
    for _, below, names in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".")]
        if any(Path(name).suffix.lower() in suffixes and not name.startswith(".") for name in names):
            return True
    return False


def _split_folders(root: Path) -> tuple[dict[SplitName, Path], tuple[str, ...]]:
    """Tell the layouts apart: folders named as splits, or everything in `root` one train split."""
    below = _visible_folders(root)
    named = [folder for folder in below if folder.name.lower() in SPLIT_FOLDERS]
    others = [folder for folder in below if folder not in named and folder.name.lower() not in UNLABELLED]
    train = next((folder for folder in named if SPLIT_FOLDERS[folder.name.lower()] == "train"), None)
    if not named or (others and (train is None or not _visible_folders(train))):
        return {"train": root}, ()  # a class may be called "train": vehicles, say
    if train is None:
        raise BadInput(f"{str(root)!r} has {listed([f.name for f in named])} but no train folder")
    found: dict[SplitName, Path] = {}
    for folder in named:
        name = SPLIT_FOLDERS[folder.name.lower()]
        if name in found:
            raise BadInput(f"{str(root)!r} has both {found[name].name!r} and {folder.name!r}; keep one {name} split")
        found[name] = folder
    ignored = (f"folders beside the splits were not read: {listed([f.name for f in others])}",) if others else ()
    return found, ignored


def _tree(folder: Path, files: FileType) -> dict[str | None, list[Path]]:
    """Class name to its files, sorted; the one key None where files lie in `folder` itself."""
    here, what = _files_in(folder, files.suffixes), files.what
    tree: dict[str | None, list[Path]] = {
        below.name: _files_below(below, files.suffixes) for below in _visible_folders(folder)
    }
    if here and any(tree.values()):
        raise BadInput(
            f"{str(folder)!r} holds {what} ({listed([here[0].name])}) beside class folders; "
            f"move {what} into the folder of their class"
        )
    if here:
        return {None: here}
    if not any(tree.values()):
        raise _none_in(folder, files)
    empty = [str(name) for name, found in tree.items() if not found]
    if empty:
        raise BadInput(f"class folder without {what} in {str(folder)!r}: {listed(empty)}; add {what} or remove it")
    return tree


def _none_in(folder: Path, files: FileType) -> BadInput:
    return BadInput(f"no {files.what} in {str(folder)!r}; known suffixes: {' '.join(sorted(files.suffixes))}")


def _classes(root: Path, trees: dict[SplitName, dict[str | None, list[Path]]]) -> tuple[str, ...]:
    classes = sorted(name for name in trees["train"] if name is not None)
    for split, tree in trees.items():
        unknown = sorted(name for name in tree if name is not None and name not in trees["train"])
        if unknown:
            raise BadInput(f"{str(root)!r}: {split} has classes that train lacks: {listed(unknown)}")
    return tuple(classes)


def _part(root: Path, tree: dict[str | None, list[Path]], classes: tuple[str, ...] | None, files: FileType) -> Part:
    paths = [path for name in sorted(tree, key=str) for path in tree[name]]
    labels: npt.NDArray[np.int64] | None = None
    if classes is not None:
        index = {name: at for at, name in enumerate(classes)}
        labels = np.repeat(
            np.array([index[str(name)] for name in sorted(tree, key=str)], np.int64),
            [len(tree[name]) for name in sorted(tree, key=str)],
        )
    return Part(
        count=len(paths),
        fetch=lambda at: files.fetch(paths[at]),
        name=lambda at: paths[at].relative_to(root).as_posix(),
        labels=lambda: labels,
        look=lambda at: files.look(paths[at]),
    )


def _visible_folders(folder: Path) -> list[Path]:
    """Folders just below, sorted; a link back to `folder` or above it is no folder of its own."""
    above = _and_above(folder)
    try:
        below = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.is_dir())
        return [p for p in below if os.path.realpath(p) not in above]
    except OSError as error:
        raise BadInput(f"folder {str(folder)!r} cannot be read: {error.strerror}") from error


def _files_in(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    return sorted(
        p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".") and p.is_file()
    )


def _files_below(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """Files at any depth, sorted. Links are followed, but to each real folder once and never upwards."""
    seen = _and_above(folder.parent)
    found: list[Path] = []
    for here, below, _ in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        found += _files_in(Path(here), suffixes)
    return sorted(found)


def _and_above(folder: Path) -> set[str]:
    real = Path(os.path.realpath(folder))
    return {str(real), *map(str, real.parents)}
