"""Tar shards: samples put together from their members, splits from file names, and what a shard may not hold."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd.data.peek import peek
from edgekd.data.readers import open_source
from edgekd.errors import BadInput

Members = dict[str, bytes]


def picture(shade: int, size: tuple[int, int] = (6, 4)) -> bytes:
    """A PNG of one shade, (width, height)."""
    file = io.BytesIO()
    Image.new("RGB", size, (shade, 0, 255 - shade)).save(file, "png")
    return file.getvalue()


@pytest.fixture
def shard(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, members: Members, *, mode: str = "w") -> Path:
        path = tmp_path / name
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            for member, content in members.items():
                entry = tarfile.TarInfo(member)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        return path

    return write


def test_members_of_one_name_are_one_sample(shard: Callable[..., Path]) -> None:
    path = shard(
        "data.tar",
        {
            "a/1.cls": b"2\n",
            "a/1.png": picture(10),
            "a/1.json": b"{}",
            "b/1.PNG": picture(20),
            "b/1.cls": b"0",
            "alone.cls": b"1",
        },
    )
    source = open_source(str(path))
    part = source.parts["train"]
    assert source.kind == "shards" and part.count == 2 and set(source.parts) == {"train"}
    assert part.labels().tolist() == [2, 0]  # type: ignore[union-attr]
    assert [np.asarray(part.fetch(at))[0, 0].tolist() for at in (0, 1)] == [[10, 0, 245], [20, 0, 235]]
    assert [part.name(at) for at in (0, 1)] == ["data.tar/a/1", "data.tar/b/1"]
    assert any("json" in note for note in source.notes) and any("1 samples without" in note for note in source.notes)
    assert peek(str(path)).uniform_size == (4, 6)


def test_splits_are_in_the_names_of_files(shard: Callable[..., Path], tmp_path: Path) -> None:
    for name, shades in (
        ("cells-train-000.tar", (1, 2)),
        ("cells-train-001.tar", (3,)),
        ("cells-validation-0.tar", (4,)),
    ):
        shard(name, {f"{shade}.png": picture(shade) for shade in shades})
    source = open_source(str(tmp_path))
    shades = {name: [np.asarray(p.fetch(at))[0, 0, 0] for at in range(p.count)] for name, p in source.parts.items()}
    assert shades == {"train": [1, 2, 3], "val": [4]} and not source.labelled


def test_links_devices_and_hidden_files_are_no_members(shard: Callable[..., Path]) -> None:
    path = shard("data.tar", {"1.png": picture(1), "._2.png": b"resource fork"})
    with tarfile.open(path, "a") as archive:
        for name, kind in (("3.png", tarfile.SYMTYPE), ("4.png", tarfile.LNKTYPE), ("5.png", tarfile.CHRTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/hostname"
            archive.addfile(entry)
    assert open_source(str(path)).parts["train"].count == 1


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ({"1.png": picture(1), "1.cls": b"0", "2.png": picture(2)}, "'data.tar/2' has no .cls but other samples do"),
        ({"1.png": picture(1), "1.cls": b"cat"}, "no class index; write whole numbers"),
        ({"1.png": picture(1), "1.cls": b"-1"}, "no class index; write whole numbers"),
        ({"1.png": picture(1), "1.jpg": picture(2)}, "'1.jpg' is a second image of one sample"),
        ({"1.txt": b"a"}, "no sample of train has an image"),
    ],
)
def test_samples_that_cannot_be_used(shard: Callable[..., Path], members: Members, complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        open_source(str(shard("data.tar", members)))


@pytest.mark.parametrize("damage", ["cut", "compressed", "garbage", "size"])
def test_damaged_shards_are_one_sentence(shard: Callable[..., Path], damage: str) -> None:
    path = shard(
        "data.tar", {"1.png": picture(1, (90, 90)), "2.png": picture(2)}, mode="w:gz" if damage == "compressed" else "w"
    )
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[:600])
    if damage == "garbage":
        path.write_bytes(b"\xff" * 2048)
    if damage == "size":
        entry = tarfile.TarInfo("1.png")
        entry.size = 1 << 40
        path.write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + whole[512:])
    with pytest.raises(BadInput, match=r"data\.tar.*(cut off|cannot be read)") as refused:
        open_source(str(path))
    assert "\n" not in str(refused.value)


def test_an_array_alone_is_unlabelled(tmp_path: Path) -> None:
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    np.save(tmp_path / "images.npy", images)
    part = open_source(str(tmp_path / "images.npy")).parts["train"]
    assert part.count == 2 and np.array_equal(part.fetch(1), images[1]) and part.name(1) == "images[1]"
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(BadInput, match=r"objects\.npy.* cannot be read as \.npy"):
        open_source(str(tmp_path / "objects.npy"))


@pytest.mark.parametrize(
    "header", ["{'descr': '|u1', 'fortran_order': False, 'shape': (((", "(10**30, 2)", "(True, 2)"]
)
def test_arrays_with_broken_headers_are_one_sentence(tmp_path: Path, header: str) -> None:
    if header.startswith("("):
        header = "{'descr': '|u1', 'fortran_order': False, 'shape': " + header.replace("10**30", "1" + 30 * "0") + "}"
    text = header.encode().ljust(117) + b"\n"
    path = tmp_path / "images.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64))
    with pytest.raises(BadInput, match=r"images\.npy"):
        open_source(str(path))


def test_several_arrays_are_no_npy(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x_train=np.zeros((2, 4)))
    (tmp_path / "data.npz").rename(tmp_path / "data.npy")
    with pytest.raises(BadInput, match="several arrays"):
        open_source(str(tmp_path / "data.npy"))


@pytest.mark.parametrize("labels", [False, True])
def test_shards_of_unlabelled_samples_lie_in_a_folder(shard: Callable[..., Path], tmp_path: Path, labels: bool) -> None:
    shard("train-0.tar", {"1.png": picture(1), "1.cls": b"1", "2.png": picture(2), "2.cls": b"0"})
    (tmp_path / "unlabelled").mkdir()
    classes = {"1.cls": b"0"} if labels else {}
    for at in (3, 5):
        shard(f"unlabelled/{at}.tar", {"1.png": picture(at), "2.png": picture(at + 1), **classes})
    source = open_source(str(tmp_path))
    assert source.parts["train"].labels().tolist() == [1, 0] and source.parts["train"].count == 2
    more = source.unlabelled
    assert more is not None and more.labels() is None
    assert [more.fetch(at).getpixel((0, 0))[0] for at in range(more.count)] == [3, 4, 5, 6]
    assert source.notes == (("labels of unlabelled samples were not read",) if labels else ())


def test_unlabelled_samples_among_the_labelled_are_sent_to_their_folder(shard: Callable[..., Path]) -> None:
    path = shard("data.tar", {"1.png": picture(1), "1.cls": b"1", "2.png": picture(2)})
    with pytest.raises(BadInput, match=r"'data\.tar/2' has no \.cls .*into a folder `unlabelled`"):
        open_source(str(path))


@pytest.mark.parametrize("spelling", ["unlabeled", "Unlabelled"])
def test_the_folder_of_unlabelled_shards_is_found_and_read_like_the_others(
    shard: Callable[..., Path], tmp_path: Path, spelling: str
) -> None:
    shard("train.tar", {"1.png": picture(1), "1.cls": b"1"})
    (tmp_path / spelling).mkdir()
    shard(f"{spelling}/0.tar", {"1.png": picture(3), "1.json": b"{}", "2.cls": b"0"})
    source = open_source(str(tmp_path))
    assert source.unlabelled is not None and source.unlabelled.count == 1
    assert source.notes == (
        "members of shards that were not read: 'json'",
        "1 samples without an image were passed over",
    )


def test_unlabelled_shards_that_cannot_be_used(shard: Callable[..., Path], tmp_path: Path) -> None:
    shard("train.tar", {"1.png": picture(1), "1.cls": b"1"})
    (tmp_path / "Unlabelled").mkdir()
    for _ in range(2):
        with pytest.raises(BadInput, match=r"no sample of 'Unlabelled' has an image in a shard; known .*png"):
            open_source(str(tmp_path))
        shard("Unlabelled/0.tar", {"1.txt": b"a"})
    (tmp_path / "unlabeled").mkdir()
    with pytest.raises(BadInput, match="has both 'Unlabelled' and 'unlabeled'; keep one"):
        open_source(str(tmp_path))
