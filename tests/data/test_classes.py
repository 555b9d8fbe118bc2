"""Class names: files that name them, the order they impose, and the model's number of outputs."""

from pathlib import Path

import pytest

from edgekd.data.classes import agreed_order, check_classes, order_of, read_classes
from edgekd.errors import BadInput


def written(folder: Path, text: str) -> Path:
    path = folder / "classes.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_one_name_a_line(tmp_path: Path) -> None:
    assert read_classes(written(tmp_path, "\ufeffzebra crossing\r\ncat\n\n")) == ("zebra crossing", "cat")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("a\n\nb\n", "line 2 is blank"),
        ("a\nb\na\n", "line 3 names 'a' a second"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        read_classes(written(tmp_path, text))


def test_missing_or_binary_file(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    for name in ("absent", "binary"):
        with pytest.raises(BadInput, match="cannot be read"):
            read_classes(tmp_path / name)


def test_order_by_hand() -> None:
    mapping, notes = order_of(["cat", "dog"], ("dog", "emu", "cat"), "classes.txt")
    assert mapping is not None and mapping.tolist() == [2, 0]
    assert notes == ("no images of 1 of the 3 named classes: 'emu'",)


def test_folder_that_the_file_does_not_name() -> None:
    with pytest.raises(BadInput, match=r"lacks 'cat' found in the data; it names 'kat', which the data lack"):
        order_of(["cat", "dog"], ("dog", "kat"), "classes.txt")


def test_names_and_outputs() -> None:
    assert check_classes(("a", "b"), 2) == ("a", "b")
    assert check_classes(None, 3, largest_label=2) == ("0", "1", "2")
    with pytest.raises(BadInput, match="the model has 10 outputs but the data have 2 classes"):
        check_classes(("a", "b"), 10)
    with pytest.raises(BadInput, match="label 3 but the model has 3 outputs"):
        check_classes(None, 3, largest_label=3)


def test_a_model_that_stores_class_names_gives_their_order():
    assert agreed_order(("a", "b", "c"), None, 3) == (None, ())
    assert agreed_order(("a", "b"), ("a", "b"), 2) == (("a", "b"), ())
    assert agreed_order(None, ("b", "a"), 2) == (("b", "a"), ())
    order, (note,) = agreed_order(("a", "b", "c"), ("b", "c", "a"), 3)
    assert order == ("b", "c", "a") and "begin with 'b', 'c', 'a'" in note


def test_stored_names_in_another_number_than_outputs_are_left_out_with_a_note():
    order, (note,) = agreed_order(("a", "b"), ("cat", "dog", "emu"), 2)
    assert order is None and note == "the 3 class names in the model file were not used, because it has 2 outputs"


def test_model_and_data_that_name_other_classes_are_refused_with_the_names_of_both():
    with pytest.raises(BadInput, match="'dog' only in the model and 'hound' only in the data; give --classes FILE"):
        agreed_order(("cat", "hound"), ("cat", "dog"), 2)
    with pytest.raises(BadInput, match="'emu' only in the model; give"):
        agreed_order(("cat", "dog"), ("cat", "dog", "emu"), 3)
