"""Boxes as COCO writes them: what is read, where boxes end up in the model's input, and what is refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgekd.data.materialise import materialise, open_split
from edgekd.data.peek import peek
from edgekd.data.readers import kind_of, open_source
from edgekd.errors import BadInput
from edgekd.preprocessing import Preprocessing

HOW = Preprocessing(height=20, width=60, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
SHARED = Path(__file__).resolve().parents[2].parent / "shared"

Folder = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Folder:
    """Write 12 images of 40 x 30 (width x height) with an object each, and annotations with the changes asked for."""

    def folder(change: Callable[[dict[str, Any]], None] = lambda whole: None, name: str = "coco.json") -> Path:
        images, annotations = [], []
        (tmp_path / "images").mkdir(exist_ok=True)
        for at in range(12):
            pixels = np.random.default_rng(at).integers(0, 256, (30, 40, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / f"{at}.png")
            images.append({"id": at, "file_name": f"{at}.png", "width": 40, "height": 30})
            annotations.append({"id": at, "image_id": at, "category_id": 3 - at % 2, "bbox": [4, 6, 10.0, 12]})
        categories = [{"id": 3, "name": "cat"}, {"id": 2, "name": "dog"}]
        whole = {"images": images, "annotations": annotations, "categories": categories}
        change(whole)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(whole))
        return tmp_path

    return folder


def labels(root: Path, **options: Any) -> np.ndarray:
    found = open_source(str(root), **options).parts["train"].labels()
    assert found is not None
    return found


def test_boxes_become_shares_of_the_image_and_classes_follow_their_ids(write: Folder) -> None:
    root = write(lambda whole: whole["annotations"].append({"image_id": 1, "category_id": 2, "bbox": [0, 0, 40, 30]}))
    source = open_source(str(root))
    assert source.kind == kind_of(str(root)) == "coco" and source.boxes and source.classes == ("dog", "cat")
    found = labels(root)
    assert found.shape == (12, 2, 6) and found.dtype == np.float32
    assert found[0, 0] == pytest.approx([0, 1, 4 / 40, 6 / 30, 14 / 40, 18 / 30])
    assert found[1, 1].tolist() == [1, 0, 0, 0, 1, 1] and not found[0, 1].any()


def test_peek_says_boxes(write: Folder) -> None:
    facts = peek(str(write()))
    assert (facts.labels, facts.label_shape, facts.classes) == ("boxes", (1, 6), ("dog", "cat"))
    assert facts.uniform_size == (30, 40) and facts.largest_label is None
    assert peek(str(write()), task="generic").labels is None


def test_materialise_puts_boxes_into_pixels_of_the_models_input(write: Folder, tmp_path: Path) -> None:
    manifest = materialise(str(write()), tmp_path / "out", HOW)
    assert manifest.classes == ("dog", "cat") and manifest.labelled
    split = open_split(tmp_path / "out", "test")
    assert split.labels is not None and split.labels.shape == (1, 1, 6)
    assert split.labels[0, 0, 2:] == pytest.approx([6, 4, 21, 12])


def test_another_order_of_classes_moves_the_columns(write: Folder, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("cat\nbird\ndog\n")
    found = labels(write(), classes_file=names)
    assert found.shape == (12, 1, 7) and found[0, 0, :3].tolist() == [1, 0, 0] and found[1, 0, :3].tolist() == [0, 0, 1]
    assert found[0, 0, 3:] == pytest.approx([0.1, 0.2, 0.35, 0.6])


@pytest.mark.parametrize("named", [False, True])
def test_a_split_in_the_file(write: Folder, named: bool) -> None:
    def split(whole: dict[str, Any]) -> None:
        ids = {"train": list(range(7)), "valid": [7, 8], "test": [9, 10]}
        whole["split"] = {name: [f"{at}.png" if named else at for at in part] for name, part in ids.items()}

    source = open_source(str(write(split)))
    assert {name: part.count for name, part in source.parts.items()} == {"train": 7, "val": 2, "test": 2}
    assert source.parts["val"].name(0) == "images/7.png"
    assert source.notes == ("1 images that are in no split were not read",)


@pytest.mark.parametrize(
    "names", [("train.json", "val.json"), ("annotations/instances_train2017.json", "annotations/val.json")]
)
def test_a_file_for_each_split(write: Folder, names: tuple[str, str]) -> None:
    for name, kept in zip(names, (range(8), range(8, 12)), strict=True):

        def keep(whole: dict[str, Any], kept: range = kept) -> None:
            whole["images"] = [image for image in whole["images"] if image["id"] in kept]
            whole["annotations"] = [one for one in whole["annotations"] if one["image_id"] in kept]

        root = write(keep, name)
    source = open_source(str(root))
    assert {name: part.count for name, part in source.parts.items()} == {"train": 8, "val": 4}


def test_images_without_objects_and_what_is_no_object(write: Folder) -> None:
    def change(whole: dict[str, Any]) -> None:
        whole["annotations"][0]["iscrowd"] = 1
        whole["annotations"][1]["bbox"] = [5, 5, 0, 0]
        whole["annotations"][2]["bbox"] = [39.5, 5, 1.2, 7]  # stands out by rounding

    root = write(change)
    found = labels(root)
    assert not found[:2].any() and found[2, 0, 2:] == pytest.approx([39.5 / 40, 5 / 30, 1, 12 / 30])
    assert open_source(str(root)).notes == ("2 annotations of empty boxes or of crowds were not read as objects",)


def put(key: str, at: int, **values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda whole: whole[key][at].update(values)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("images", 3, file_name="../3.png"), "no path inside"),
        (put("images", 3, file_name="/etc/passwd"), "no path inside"),
        (put("images", 3, file_name="a\0b.png"), "no path inside"),
        (put("images", 3, file_name=7), "no path inside"),
        (put("images", 3, file_name="13.png"), "there is no image '13.png'"),
        (put("images", 3, file_name="2.png"), "lists an image file twice"),
        (put("images", 3, width=30, height=40), "said to be '40' x '30'"),
        (put("images", 3, id=2), "images.3. has the id '2'"),
        (put("images", 3, id="3"), "has the id '3'"),
        (put("annotations", 3, image_id=99), "annotation 3 is of image '99'"),
        (put("annotations", 3, image_id=[1]), "annotation 3 is of image"),
        (put("annotations", 3, category_id=9), "annotation 3 is of category '9'"),
        (put("annotations", 3, bbox=[1, 2, 3]), "annotation 3 has the bbox"),
        (put("annotations", 3, bbox=[5, 5, -2, 4]), "annotation 3 has the bbox"),
        (put("annotations", 3, bbox=[5, 5, float("nan"), 4]), "annotation 3 has the bbox"),
        (put("annotations", 3, bbox=[5, 5, 10**400, 4]), "annotation 3 has the bbox"),
        (put("annotations", 3, bbox=["5", 5, 4, 4]), "annotation 3 has the bbox"),
        (put("annotations", 3, bbox=[35, 5, 10, 4]), "outside of its image of 30 x 40"),
        (put("annotations", 3, bbox=[-5, 5, 10, 4]), "outside of its image"),
        (put("categories", 0, name="dog"), "categories with a name each"),
        (lambda whole: whole.update(categories=[]), "categories with a name each"),
        (lambda whole: whole.update(images={"0": {}}), "images must be a list"),
        (lambda whole: whole.pop("annotations"), "annotations must be a list"),
        (lambda whole: whole.update(split={"train": [0, 1], "val": [1]}), "in a split already"),
        (lambda whole: whole.update(split={"train": [0, 99]}), "'99', which is no image"),
        (lambda whole: whole.update(split={"train": [0], "dev": [1]}), "split has the part 'dev'"),
        (lambda whole: whole.update(split={"val": [0]}), "no train images"),
        (lambda whole: whole.update(split=[0, 1]), "split must be lists"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(write: Folder, change: Callable[[dict[str, Any]], Any], said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        open_source(str(write(lambda whole: change(whole) and None)))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_links_are_refused(write: Folder, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = write()
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "0.png"
    (root / "images" / "0.png").rename(elsewhere)
    os.symlink(elsewhere, root / "images" / "0.png")
    with pytest.raises(BadInput, match="is a link"):
        open_source(str(root))


@pytest.mark.parametrize("text", ["[]", "{", '{"images": ' + "[" * 100_000, "\ufeff{}\0"])
def test_what_is_no_annotation_file(write: Folder, text: str) -> None:
    root = write()
    (root / "coco.json").write_text(text)
    with pytest.raises(BadInput, match="annotations"):
        open_source(str(root))


def test_an_image_that_does_not_decode_is_counted_not_fatal(write: Folder, tmp_path: Path) -> None:
    root = write()
    (root / "images" / "4.png").write_bytes(b"no image")
    manifest = materialise(str(root), tmp_path / "out", HOW, max_skipped=0.2)
    assert manifest.skipped == 1 and sum(manifest.counts.values()) == 11


def boxed_npz(path: Path, boxes: list[float], size: tuple[int, int] = (30, 40)) -> str:
    rng = np.random.default_rng(0)
    labels = np.zeros((20, 2, 6), np.float32)
    labels[:, 0] = [0, 1, *boxes]
    np.savez(path, x_train=rng.integers(0, 256, (20, *size, 3)).astype(np.uint8), y_train=labels)
    return str(path)


def test_arrays_with_boxes_are_read_where_the_task_says_so(tmp_path: Path) -> None:
    source = boxed_npz(tmp_path / "boxes.npz", [4, 6, 14, 18])
    assert peek(source).labels == "numbers" and peek(source, task="detection").labels == "boxes"
    materialise(source, tmp_path / "out", HOW, task="detection")
    split = open_split(tmp_path / "out", "train")
    assert split.labels is not None
    assert split.labels[0, 0] == pytest.approx([0, 1, 6, 4, 21, 12]) and not split.labels[0, 1].any()


@pytest.mark.parametrize(
    ("boxes", "said"), [([14, 6, 4, 18], "x1 < x2"), ([4, 6, 14, 40], "outside its image of 30 x 40")]
)
def test_arrays_with_boxes_that_are_none_are_refused(tmp_path: Path, boxes: list[float], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        peek(boxed_npz(tmp_path / "boxes.npz", boxes), task="detection")


def test_boxes_are_for_detection_or_left_unread(write: Folder, tmp_path: Path) -> None:
    root = str(write())
    with pytest.raises(BadInput, match="--task classification does not know"):
        peek(root, task="classification")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    assert open_source(root, task="generic", classes_file=tmp_path / "names.txt").parts["train"].labels() is None
    (tmp_path / "made.py").write_text("def make():\n    return {'train': [([[1, 2]] * 3, 0)] * 9}\n")
    with pytest.raises(BadInput, match="boxes are read from a folder"):
        peek(f"{tmp_path / 'made.py'}:make", task="detection")


def test_labels_that_are_no_boxes_are_refused_for_detection(tmp_path: Path) -> None:
    for labels in (np.zeros(4, np.int64), np.zeros((4, 2), np.float32), np.full((4, 2, 6), 0.5, np.float32)):
        np.savez(tmp_path / "no.npz", x_train=np.zeros((4, 8, 8, 3), np.uint8), y_train=labels)
        with pytest.raises(BadInput, match="boxes are floats"):
            peek(str(tmp_path / "no.npz"), task="detection")


def test_real_smears_of_blood(tmp_path: Path) -> None:
    packed = SHARED / "data" / "bccd.tar"
    if not packed.is_file():
        pytest.skip("shared/data/bccd.tar is not beside the checkout")
    import tarfile

    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    source = open_source(str(tmp_path / "bccd"))
    assert source.classes == ("WBC", "RBC", "Platelets")
    assert {name: part.count for name, part in source.parts.items()} == {"train": 291, "val": 73}
    counts = sum(np.asarray(part.labels())[..., :3].sum((0, 1)) for part in source.parts.values())
    assert counts.tolist() == [372, 4153, 361]


def test_unlabelled_images_need_no_annotations(write: Folder, tmp_path: Path) -> None:
    root = write()
    (root / "unlabelled").mkdir()
    for at in range(3):
        Image.new("RGB", (50 + at, 30), (10 + at, 0, 0)).save(root / "unlabelled" / f"{at}.png")
    source = open_source(str(root))
    assert source.kind == "coco" and source.parts["train"].count == 12
    assert source.unlabelled is not None and source.unlabelled.name(2) == "unlabelled/2.png"
    manifest = materialise(str(root), tmp_path / "out", HOW)
    train = open_split(tmp_path / "out", "train")
    assert manifest.unlabelled == 3 and len(train) == manifest.counts["train"] == len(train.labels) + 3
    assert sorted(train.inputs[-3:, 0, 0, 0].tolist()) == [10, 11, 12]
