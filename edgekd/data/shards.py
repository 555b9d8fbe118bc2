"""Tar shards as WebDataset writes them: members that share a name up to the first dot are one sample.

`0001.jpg` is the image and `0001.cls` its class, a whole number in digits; other members are passed over. Only headers
are read until a sample is asked for, and nothing is unpacked to disk.
"""

import io
import itertools
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from edgekd.data.class_folders import SPLIT_FOLDERS
from edgekd.data.classes import listed
from edgekd.data.image import SUFFIXES, look_at, open_image
from edgekd.data.source import SPLIT_NAMES, UNREAD_LABELS, Part, Source, SplitName, as_labels, unlabelled_among
from edgekd.errors import BadInput

MOST_SAMPLES = 20_000_000
MOST_BYTES = 256 << 20
"""Of one member."""
LABEL_BYTES = 32
KNOWN = f"known suffixes: {' '.join(sorted(SUFFIXES))}"


@dataclass(frozen=True)
class _Member:
    """Where a file lies in a shard."""

    shard: Path
    start: int
    size: int

    def read(self) -> bytes:
        with self.shard.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)


@dataclass
class _Sample:
    """What was found under one name in one shard."""

    name: str
    image: _Member | None = None
    label: _Member | None = None
    others: list[str] = field(default_factory=list)


def is_shards(path: Path) -> bool:
    """Whether this is a tar file, or a folder that holds some."""
    return path.suffix == ".tar" if path.is_file() else path.is_dir() and any(path.glob("*.tar"))


def read_shards(source: str) -> Source:
    """Index a .tar file, or a folder of them whose names say train, val or test; without such words all are train.

    Shards in a folder `unlabelled` are apart, and a class that a sample has there is not read. Raises BadInput where a
    shard is damaged, a sample has two images, some samples have a class and others none, or train or that folder has no
    image.
    """
    root = Path(source)
    shards = [root] if root.is_file() else sorted(root.glob("*.tar"))
    by_split: dict[SplitName, list[_Sample]] = {}
    for shard in shards:
        by_split.setdefault(_split_of(shard), []).extend(_samples(shard))
    found = {name: [sample for sample in by_split.get(name, []) if sample.image] for name in SPLIT_NAMES}
    if not found["train"]:
        raise BadInput(f"{source}: no sample of train has an image; {KNOWN}")
    labelled = {sample.label is not None for samples in found.values() for sample in samples}
    if len(labelled) > 1:
        bare = next(sample.name for samples in found.values() for sample in samples if sample.label is None)
        raise BadInput(
            f"{source}: {listed([bare])} has no .cls but other samples do; label every sample, or none, "
            "or move the shards of those without into a folder `unlabelled`"
        )
    parts = {name: _part(samples, labelled == {True}) for name, samples in found.items() if samples}
    apart = _unlabelled(root)
    more = [sample for sample in apart if sample.image]
    notes = _notes([*itertools.chain(*by_split.values()), *apart])
    notes += (UNREAD_LABELS,) * any(sample.label for sample in more)
    unlabelled = _part(more, False) if more else None
    return Source("shards", parts, labelled == {True}, None, notes, unlabelled=unlabelled)


def _unlabelled(root: Path) -> list[_Sample]:
    """The samples in the folder `unlabelled`, none without one. Raises BadInput where none of them has an image."""
    name = unlabelled_among((folder.name for folder in root.glob("*/")), repr(str(root)))
    if name is None:
        return []
    found = [sample for shard in sorted((root / name).glob("*.tar")) for sample in _samples(shard)]
    if not any(sample.image for sample in found):
        raise BadInput(f"{root}: no sample of {name!r} has an image in a shard; {KNOWN}")
    return found


def _split_of(shard: Path) -> SplitName:
    words = re.split(r"[^a-z]+", shard.stem.lower())
    return next((SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS), "train")


def _samples(shard: Path) -> list[_Sample]:
    """The samples of one shard in their order."""
    found: dict[str, _Sample] = {}
    for name, member in _members(shard):
        folder, _, file = name.rpartition("/")
        key, _, suffix = file.partition(".")
        sample = found.setdefault(f"{folder}/{key}", _Sample(f"{shard.name}/{name.removesuffix(f'.{suffix}')}"))
        if f".{suffix.lower()}" in SUFFIXES:
            if sample.image is not None:
                raise BadInput(f"{str(shard)!r}: {listed([name])} is a second image of one sample; keep one")
            sample.image = member
        elif suffix == "cls":
            sample.label = member
        else:
            sample.others.append(suffix)
        if len(found) > MOST_SAMPLES:
            raise BadInput(f"{str(shard)!r} has over {MOST_SAMPLES} samples; split it")
    return list(found.values())


def _members(shard: Path) -> Iterator[tuple[str, _Member]]:
    """Name and place of every regular file; links, devices and sparse files are none."""
    end = shard.stat().st_size
    try:
        with tarfile.open(shard, "r:") as archive:
            for entry in archive:
                if not entry.isreg() or entry.issparse() or Path(entry.name).name.startswith("."):
                    continue
                if not 0 <= entry.size <= min(MOST_BYTES, end - entry.offset_data):
                    raise BadInput(
                        f"{str(shard)!r}: {listed([entry.name])} is cut off, or larger than {MOST_BYTES} bytes"
                    )
                yield entry.name, _Member(shard, entry.offset_data, entry.size)
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise BadInput(
            f"{str(shard)!r} cannot be read as a plain tar file: {str(error)[:120]}; unpack or mend it"
        ) from error


def _part(samples: list[_Sample], labelled: bool) -> Part:
    images = [sample.image for sample in samples if sample.image]
    labels = (
        as_labels(np.array([_class_of(sample) for sample in samples]), "shards", len(samples)) if labelled else None
    )

    def fetch(at: int) -> Image.Image:
        return open_image(io.BytesIO(images[at].read()))

    return Part(
        count=len(samples),
        fetch=fetch,
        name=lambda at: samples[at].name,
        labels=lambda: labels,
        look=lambda at: look_at(io.BytesIO(images[at].read())),
    )


def _class_of(sample: _Sample) -> int:
    assert sample.label is not None
    text = sample.label.read()[:LABEL_BYTES].strip() if sample.label.size <= LABEL_BYTES else b""
    if not re.fullmatch(rb"\d{1,9}", text):
        raise BadInput(f"{listed([sample.name])}.cls is no class index; write whole numbers from 0 up in digits")
    return int(text)


def _notes(samples: list[_Sample]) -> tuple[str, ...]:
    others = Counter(suffix for sample in samples for suffix in sample.others)
    bare = sum(sample.image is None for sample in samples)
    notes = [f"members of shards that were not read: {listed(sorted(others))}"] * bool(others)
    return (*notes, *[f"{bare} samples without an image were passed over"] * bool(bare))
