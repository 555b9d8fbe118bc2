"""Images in folders: train/CLASS/*, optional val/CLASS/* and test/CLASS/*; or CLASS/*; or images alone, unlabelled."""

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekd.data.classes import listed
from edgekd.data.image import SUFFIXES, look_at, open_image
from edgekd.data.source import SPLIT_NAMES, Part, Source, SplitName
from edgekd.errors import BadInput

SPLIT_FOLDERS: dict[str, SplitName] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def read_image_folder(source: str) -> Source:
    """List a folder's images and their classes; nothing is decoded.

    Hidden files and files without an image's suffix are passed over. Raises BadInput where there are no images, a class
    folder is empty, images lie beside class folders, or splits disagree about the classes.
    """
    root = Path(source)
    folders, notes = _split_folders(root)
    trees = {name: _tree(folder) for name, folder in folders.items()}
    labelled = {name: None not in tree for name, tree in trees.items()}
    if len(set(labelled.values())) > 1:
        with_classes = next(name for name in trees if labelled[name])
        without = next(name for name in trees if not labelled[name])
        raise BadInput(
            f"{str(root)!r}: {without} has images without class folders but {with_classes} has class folders; "
            "use class folders in every split, or in none"
        )
    classes = _classes(root, trees) if labelled["train"] else None
    parts = {name: _part(root, trees[name], classes) for name in SPLIT_NAMES if name in trees}
    return Source("image folder", parts, labelled["train"], classes, notes)


def _split_folders(root: Path) -> tuple[dict[SplitName, Path], tuple[str, ...]]:
    """Tell the layouts apart: folders named as splits, or everything in `root` one train split."""
    below = _visible_folders(root)
    named = [folder for folder in below if folder.name.lower() in SPLIT_FOLDERS]
    others = [folder for folder in below if folder not in named]
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


def _tree(folder: Path) -> dict[str | None, list[Path]]:
    """Class name to its images, sorted; the one key None where images lie in `folder` itself."""
    here = _images_in(folder)
    tree: dict[str | None, list[Path]] = {below.name: _images_below(below) for below in _visible_folders(folder)}
    if here and any(tree.values()):
        raise BadInput(
            f"{str(folder)!r} holds images ({listed([here[0].name])}) beside class folders; "
            "move every image into the folder of its class"
        )
    if here:
        return {None: here}
    if not any(tree.values()):
        raise BadInput(f"no images in {str(folder)!r}; known suffixes: {' '.join(sorted(SUFFIXES))}")
    empty = [str(name) for name, images in tree.items() if not images]
    if empty:
        raise BadInput(f"class folder without images in {str(folder)!r}: {listed(empty)}; add images or remove it")
    return tree


def _classes(root: Path, trees: dict[SplitName, dict[str | None, list[Path]]]) -> tuple[str, ...]:
    classes = sorted(name for name in trees["train"] if name is not None)
    for split, tree in trees.items():
        unknown = sorted(name for name in tree if name is not None and name not in trees["train"])
        if unknown:
            raise BadInput(f"{str(root)!r}: {split} has classes that train lacks: {listed(unknown)}")
    return tuple(classes)


def _part(root: Path, tree: dict[str | None, list[Path]], classes: tuple[str, ...] | None) -> Part:
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
        fetch=lambda at: open_image(paths[at]),
        name=lambda at: paths[at].relative_to(root).as_posix(),
        labels=lambda: labels,
        look=lambda at: look_at(paths[at]),
    )


def _visible_folders(folder: Path) -> list[Path]:
    """Folders just below, sorted; a link back to `folder` or above it is no folder of its own."""
    above = _and_above(folder)
    try:
        below = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.is_dir())
        return [p for p in below if os.path.realpath(p) not in above]
    except OSError as error:
        raise BadInput(f"folder {str(folder)!r} cannot be read: {error.strerror}") from error


def _images_in(folder: Path) -> list[Path]:
    return sorted(
        p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    )


def _images_below(folder: Path) -> list[Path]:
    """Images at any depth, sorted. Links are followed, but to each real folder once and never upwards."""
    seen = _and_above(folder.parent)
    found: list[Path] = []
    for here, below, _ in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        found += _images_in(Path(here))
    return sorted(found)


def _and_above(folder: Path) -> set[str]:
    real = Path(os.path.realpath(folder))
    return {str(real), *map(str, real.parents)}
