"""Data from a user's file: datasets of images, arrays and tensors, and code that goes wrong."""

from pathlib import Path

import numpy as np
import pytest

from edgekd.data.materialise import materialise, open_split
from edgekd.data.peek import peek
from edgekd.data.readers import open_source
from edgekd.errors import BadInput
from edgekd.preprocessing import Dtype, Preprocessing

TENSORS = """
import torch
from torch.utils.data import TensorDataset

def make():
    images = torch.arange(30 * 3 * 4 * 5, dtype=torch.float32).reshape(30, 3, 4, 5).requires_grad_()
    labels = torch.arange(30) % 2
    return {"train": TensorDataset(images, labels)}
"""
ARRAYS = """
import numpy as np
from PIL import Image
rng = np.random.default_rng(0)

class Pictures:
    classes = ["cat", "dog"]
    def __len__(self):
        return 20
    def __getitem__(self, at):
        if at >= 20:
            raise IndexError(at)
        pixels = np.random.default_rng(at).integers(0, 256, (6, 7, 3), dtype=np.uint8)
        return (Image.fromarray(pixels) if at % 2 else pixels), at % 2

def make():
    white, black = np.full((6, 7, 3), 255, np.uint8), np.zeros((6, 7, 3), np.uint8)
    return {"train": Pictures(), "val": [(white, 1)], "test": [(black, 0)]}
"""


def ready(shape: tuple[int, ...], dtype: Dtype = "float32") -> Preprocessing:
    return Preprocessing(identity=True, input_shape=shape, dtype=dtype)


def factory(folder: Path, code: str) -> str:
    (folder / "data.py").write_text(code)
    return f"{folder / 'data.py'}:make"


def test_tensors_are_model_inputs(tmp_path: Path) -> None:
    source = factory(tmp_path, TENSORS)
    facts = peek(source)
    assert facts.input_shape == (3, 4, 5) and facts.dtype == "float32" and facts.largest_label == 1
    manifest = materialise(source, tmp_path / "out", ready((3, 4, 5)))
    split = open_split(tmp_path / "out", "train")
    assert split.inputs.dtype == np.float32 and split.inputs.shape == (24, 3, 4, 5)
    assert (manifest.shape, manifest.dtype) == ((3, 4, 5), "float32")
    firsts = (split.inputs[:, 0, 0, 0] / 60).round().astype(int)
    assert split.labels is not None and np.array_equal(split.labels, firsts % 2)


TOKENS = """
import numpy as np
rng = np.random.default_rng(1)

class Sentences:
    def __init__(self, count):
        self.ids = rng.integers(0, 50, (count, 12)).astype(np.int32)
    def __len__(self):
        return len(self.ids)
    def __getitem__(self, at):
        return self.ids[at], float(self.ids[at].sum())

def make():
    return {"train": Sentences(40), "test": Sentences(7)}
"""


def test_token_ids_with_a_number_each(tmp_path: Path) -> None:
    source = factory(tmp_path, TOKENS)
    facts = peek(source)
    assert (facts.input_shape, facts.dtype, facts.labels, facts.label_shape) == ((12,), "int64", "numbers", ())
    assert facts.uniform_size is None and facts.channels is None and facts.largest_label is None
    manifest = materialise(source, tmp_path / "out", ready((12,), "int64"), target_shape=(1,))
    assert manifest.counts == {"train": 36, "val": 4, "test": 7} and manifest.dtype == "int64"
    for name in ("train", "val", "test"):
        split = open_split(tmp_path / "out", name)
        assert split.inputs.dtype == np.int64 and split.labels is not None and split.labels.dtype == np.float32
        assert np.array_equal(split.labels, split.inputs.sum(axis=1, keepdims=True))


def test_given_splits_keep_their_order(tmp_path: Path) -> None:
    code = "import numpy as np\nwindows = [(np.full((4, 2), t, np.float32), np.full(3, t + 0.5)) for t in range(40)]\n"
    code += "def make():\n    return {'train': windows[:30], 'val': windows[30:35], 'test': windows[35:]}\n"
    materialise(factory(tmp_path, code), tmp_path / "out", ready((4, 2)), target_shape=(3,))
    for name, first, last in (("val", 30, 35), ("test", 35, 40)):
        split = open_split(tmp_path / "out", name)
        assert split.inputs[:, 0, 0].tolist() == list(range(first, last))
        assert split.labels is not None and split.labels[:, 2].tolist() == [t + 0.5 for t in range(first, last)]


@pytest.mark.parametrize(
    ("items", "complaint"),
    [
        (
            "(np.zeros((3, 8, 8), np.float32), 1)",
            r"train\[39\] is \(3, 8, 8\) where the others are of shape \(3, 4, 5\)",
        ),
        ("(np.zeros((3, 4, 5), np.uint8), 1)", r"train\[39\] is an 8-bit image where the others"),
        ("(np.full((3, 4, 5), np.nan), 1)", r"train\[39\] holds NaN; inputs must be finite"),
        ("(np.full((3, 4, 5), 1e39), 1)", r"train\[39\] holds infinity"),
    ],
)
def test_one_input_unlike_the_others_is_named(tmp_path: Path, items: str, complaint: str) -> None:
    code = f"import numpy as np\nrng = np.random.default_rng(0)\nodd = {items}\n"
    code += "good = [(rng.normal(size=(3, 4, 5)), at % 2) for at in range(60)]\n"
    code += "def make():\n    return {'train': [*good[:39], odd, *good[39:]]}\n"
    with pytest.raises(BadInput, match=complaint):
        materialise(factory(tmp_path, code), tmp_path / "out", ready((3, 4, 5)))
    assert not list((tmp_path / "out").glob("*.npy"))


def test_arrays_and_pictures(tmp_path: Path) -> None:
    source = factory(tmp_path, ARRAYS)
    facts = peek(source)
    assert facts.classes == ("cat", "dog") and facts.uniform_size == (6, 7) and facts.count == 22
    how = Preprocessing(height=6, width=7, channels=3, mean=(0, 0, 0), std=(1, 1, 1))
    manifest = materialise(source, tmp_path / "out", how)
    assert manifest.counts == {"train": 20, "val": 1, "test": 1} and manifest.split_origin["val"] == "as given"
    split = open_split(tmp_path / "out", "train")
    third = np.random.default_rng(3).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    assert any(
        np.array_equal(image, third) and label == 1 for image, label in zip(split.inputs, split.labels, strict=True)
    )


def test_channels_first_bytes_and_no_labels(tmp_path: Path) -> None:
    code = "import torch\nx = [torch.full((3, 6, 7), at, dtype=torch.uint8) for at in range(20)]\n"
    code += "def make():\n    return {'train': x}\n"
    facts = peek(factory(tmp_path, code))
    assert facts.uniform_size == (6, 7) and facts.channels == 3 and not facts.labelled and facts.input_shape is None


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("return 1 / 0", "ZeroDivisionError"),
        ("return []", "returned a list"),
        ("return {'test': [1]}", "returned a dict with 'test'"),
        ("return {'train': [1], 'dev': [1]}", "splits 'dev'"),
        ("return {'train': iter([1])}", "train is a list_iterator; it needs a length"),
        ("return {'train': []}", "train is empty"),
        ("return {'train': [('x', 1)]}", r"train\[0\] is <U1 of shape \(\)"),
        ("return {'train': [(Z, 0), (Z, None)]}", r"train\[1\] has no label"),
        ("return {'train': [(Z, 0), (Z, -3)]}", r"\[1\] is -3"),
        ("return {'train': [(Z, 'cat')]}", "labels are integer class indices, or floats"),
        ("return {'train': [(Z, [0.5]), (Z, [1.0, 2.0])]}", "labels of different shapes"),
        ("return {'train': [(np.zeros(3), 0), (np.zeros(4), 1)]}", r"different shapes \('\(3,\)', '\(4,\)'\); pad"),
        ("return {'train': [(np.zeros(3), 0), (Z, 1)]}", "mixes 8-bit images and inputs of other types"),
        ("return {'train': [(Z, 0)], 'test': [Z]}", "test has no labels but other splits do"),
    ],
)
def test_user_code_that_goes_wrong(tmp_path: Path, body: str, complaint: str) -> None:
    source = factory(tmp_path, f"import numpy as np\nZ = np.zeros((4, 4, 3), np.uint8)\ndef make():\n    {body}\n")
    with pytest.raises(BadInput, match=complaint) as caught:
        peek(source)
    assert "\n" not in str(caught.value)


def test_code_is_not_run_without_trust(tmp_path: Path) -> None:
    source = factory(tmp_path, f"open({str(tmp_path / 'ran')!r}, 'w')\ndef make(): return {{}}")
    with pytest.raises(BadInput, match="would run code"):
        peek(source, trust_code=False)
    assert not (tmp_path / "ran").exists()


def test_missing_file_and_function(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        peek(f"{tmp_path / 'absent.py'}:make")
    with pytest.raises(BadInput, match="no function 'make'"):
        peek(factory(tmp_path, "def mak(): pass"))


UNLABELLED = """
import numpy as np
def image(at):
    return np.full((6, 7, 3), at, np.uint8)
def make():
    train = [(image(at), at % 2) for at in range(40)]
    return {"train": train, "KEY": MORE}
"""


@pytest.mark.parametrize("key", ["unlabelled", "unlabeled"])
@pytest.mark.parametrize("more", ["[image(100), image(101)]", "[(image(100), -1), (image(101), None)]"])
def test_unlabelled_samples_and_labels_that_are_none(tmp_path: Path, key: str, more: str) -> None:
    source = factory(tmp_path, UNLABELLED.replace("KEY", key).replace("MORE", more))
    found = open_source(source)
    unlabelled = found.unlabelled
    assert found.notes == (("labels of unlabelled samples were not read",) if "-1" in more else ())
    assert unlabelled is not None and unlabelled.labels() is None and unlabelled.name(1) == f"{key}[1]"
    how = Preprocessing(height=6, width=7, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    manifest = materialise(source, tmp_path / "out", how)
    train = open_split(tmp_path / "out", "train")
    values = train.inputs[:, 0, 0, 0]
    assert manifest.unlabelled == 2 and sorted(values[-2:].tolist()) == [100, 101]
    assert np.array_equal(values[:-2] % 2, train.labels)


@pytest.mark.parametrize(
    ("train", "more", "how", "complaint"),
    [
        ("[(np.ones(3) * at, 0) for at in range(40)]", "[np.ones(4)]", ready((3,)), r"unlabelled\[0\] is \(4,\) where"),
        ("[(np.ones(3) * at, 0) for at in range(40)]", "[image(1)]", ready((3,)), r"unlabelled\[0\] is an 8-bit image"),
        (
            "[([at] * 3, 0) for at in range(40)]",
            "[np.ones(3) / 2]",
            ready((3,), "int64"),
            r"unlabelled\[0\] holds floats where the others are whole",
        ),
        (
            "[(image(at), 0) for at in range(40)]",
            "[np.ones(4)] * 3",
            Preprocessing(height=6, width=7, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3),
            r"unlabelled\[0\]' \(ValueError: float32 of shape \(4,\) where the others are 8-bit images",
        ),
        ("[(image(at), 0) for at in range(40)]", "[]", ready((3,)), "unlabelled is empty"),
    ],
)
def test_unlabelled_samples_of_another_kind(
    tmp_path: Path, train: str, more: str, how: Preprocessing, complaint: str
) -> None:
    code = UNLABELLED.replace("KEY", "unlabelled").replace("MORE", more)
    source = factory(tmp_path, code.replace("[(image(at), at % 2) for at in range(40)]", train))
    with pytest.raises(BadInput, match=complaint) as caught:
        materialise(source, tmp_path / "out", how)
    assert "\n" not in str(caught.value) and list((tmp_path / "out").glob("*")) == []
