"""Tables: which column means what, what the labels become, and one sentence for each way a file can be wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.data.materialise import materialise, open_split
from edgekd.data.peek import peek
from edgekd.data.readers import kind_of, open_source
from edgekd.data.reading import Reading, Text
from edgekd.data.table_file import read_tables
from edgekd.errors import BadInput, EdgekdError
from edgekd.preprocessing import Preprocessing

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file as text (UTF-8) or bytes; return its path as `--data` gives it."""

    def make(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return make


def refusal(source: str, **columns: Any) -> str:
    with pytest.raises(EdgekdError) as caught:
        read_tables(source, Reading(**columns))
    message = str(caught.value)
    assert "\n" not in message
    return message


def length_of(text: str) -> np.ndarray:
    """A stand-in for a tokenizer: the lengths of the first two words."""
    return np.array([len(word) for word in [*text.split(), "", ""][:2]], np.int64)


def test_numbers_are_inputs_in_the_order_of_the_file(write: Write) -> None:
    source = write("t.csv", "age,label,height\n1,0,0.5\n2.5,1,-3e2\n")
    found = read_tables(source, Reading())
    part = found.parts["train"]
    assert found.columns == ("age", "height")
    assert [part.fetch(at).tolist() for at in range(2)] == [[1.0, 0.5], [2.5, -300.0]]
    assert part.fetch(0).dtype == np.float32
    assert part.labels().tolist() == [0, 1]
    assert part.labels().dtype == np.int64
    assert part.name(1) == "t.csv line 3"


@pytest.mark.parametrize(
    ("cells", "labels", "classes"),
    [
        (("2", "0", "1"), [2, 0, 1], None),
        (("2", "0.5", "1"), [2.0, 0.5, 1.0], None),
        (("dog", " cat ", "dog"), [1, 0, 1], ("cat", "dog")),
        (("2", "cat", "1"), [1, 2, 0], ("1", "2", "cat")),
    ],
)
def test_what_labels_mean(write: Write, cells: tuple[str, ...], labels: list, classes: tuple | None) -> None:
    found = read_tables(write("t.csv", "target,x\n" + "".join(f"{cell},1\n" for cell in cells)), Reading())
    assert found.parts["train"].labels().tolist() == labels
    assert found.classes == classes


def test_labels_mean_the_same_in_every_split(write: Write, tmp_path: Path) -> None:
    write("d/train.csv", "label,x\n0,1\n1,2\n")
    write("d/test.csv", "label,x\n0.5,3\n")
    found = read_tables(str(tmp_path / "d"), Reading())
    assert [part.labels().dtype for part in found.parts.values()] == [np.float32, np.float32]


def test_text_in_quotes_keeps_its_commas_and_lines_are_counted_in_the_file(write: Write) -> None:
    source = write("t.csv", 'label,text\n1,"one, two\nthree"\n\n0,"say ""no"""\n')
    found = read_tables(source, Reading())
    part = found.parts["train"]
    assert found.text
    assert [part.fetch(at) for at in range(2)] == ["one, two\nthree", 'say "no"']
    assert [part.name(at) for at in range(2)] == ["t.csv line 2", "t.csv line 5"]


def test_a_tsv_without_header_is_text_and_label_and_quotes_nothing(write: Write) -> None:
    found = read_tables(write("t.tsv", 'a "fine\tfilm"x\t1\n'.replace("\tf", " f") + "dull\t0\n"), Reading())
    part = found.parts["train"]
    assert [part.fetch(at) for at in range(2)] == ['a "fine film"x', "dull"]
    assert part.labels().tolist() == [1, 0]


def test_a_label_that_comes_again_is_no_header(write: Write) -> None:
    found = read_tables(write("t.tsv", "who is it\tHUM\nwhere is it\tLOC\nand who\tHUM\n"), Reading())
    assert found.parts["train"].labels().tolist() == [0, 1, 0]
    assert found.classes == ("HUM", "LOC")


def test_columns_by_name_semicolons_and_a_byte_order_mark(write: Write) -> None:
    source = write("t.csv", "\ufeffreview;stars;id\nfine;5;1\nbad;1;2\n")
    found = read_tables(source, Reading(label_column="stars", text_column=("review",)))
    assert [found.parts["train"].fetch(at) for at in range(2)] == ["fine", "bad"]
    assert found.parts["train"].labels().tolist() == [5, 1]
    assert found.notes == ("columns not read: 'id'",)


PAIRED = {
    "of usual names": ("Premise,label,Hypothesis,genre", "a x,0,b,fiction", (), ("Premise", "Hypothesis")),
    "in the order of the names": ("sentence2,sentence1,label", "b,a x,0", (), ("sentence1", "sentence2")),
    "although sentence is a text": ("idx,question,sentence,label", "1,a x,b,0", (), ("question", "sentence")),
    "the only two beside the label": ("told,label,asked", "a x,0,b", (), ("told", "asked")),
    "as chosen": ("text,told,label,asked", "c,b,0,a x", ("asked", "told"), ("asked", "told")),
}


@pytest.mark.parametrize("case", PAIRED)
def test_two_columns_of_text_are_a_pair(write: Write, case: str) -> None:
    header, row, chosen, columns = PAIRED[case]
    source = write("t.csv", f"{header}\n{row}\n")
    found = read_tables(source, Reading(text_column=chosen))
    assert found.text == columns
    assert found.columns == ()
    assert found.parts["train"].fetch(0) == ("a x", "b")
    assert found.labelled
    one = read_tables(source, Reading(text_column=columns[1:]))
    assert (one.text, one.parts["train"].fetch(0)) == (columns[1:], "b")


def test_a_column_named_text_is_the_text_alone(write: Write) -> None:
    found = read_tables(write("t.csv", "title,text,label\na,b,0\n"), Reading())
    assert (found.text, found.notes) == (("text",), ("columns not read: 'title'",))


def test_columns_with_a_number_in_them_or_without_a_label_beside_them_are_no_pair(write: Write) -> None:
    assert "line 2, column 'a': 'x' is not a number" in refusal(write("t.csv", "a,b,label\nx,y,0\nz,1,1\n"))
    assert "line 2, column 'a': 'x' is not a number" in refusal(write("t.csv", "a,b,c\nx,y,0\n"))
    words = write("t.csv", "age,sex,city,label\n31,f,Bonn,0\n40,m,Ulm,1\n")
    assert "line 2, column 'sex': 'f' is not a number" in refusal(words)
    words = write("t.csv", "sex,city,street,age,label\nf,Bonn,Am Hof,31,0\n")
    assert "line 2, column 'sex': 'f' is not a number" in refusal(words)
    found = read_tables(write("t.csv", "sentence1,sentence2\nx,y\n"), Reading())
    assert (found.text, found.labelled) == (("sentence1", "sentence2"), False)


def test_a_pair_in_parquet_with_a_cell_that_is_empty(write: Write, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"b": ["x", "y"], "label": [0.5, 4.0], "a": ["z", None]}
    parquet.write_table(pyarrow.table(columns).slice(0, 1), tmp_path / "t.parquet")
    part = read_tables(str(tmp_path / "t.parquet"), Reading()).parts["train"]
    assert part.fetch(0) == ("x", "z")
    assert part.labels().tolist() == [0.5]
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    assert "t.parquet row 2, column 'a': 'None' is not text" in refusal(str(tmp_path / "t.parquet"))


def test_texts_that_cannot_be_told_apart_are_named(write: Write) -> None:
    source = write("t.csv", "a,b,c,label\nx,y,z,0\n")
    assert "3 columns of text, 'a', 'b', 'c'; name the one to classify, or the two of a pair" in refusal(source)
    assert "give one column, or the two of a pair" in refusal(source, text_column=("a", "b", "c"))
    assert "give one column, or the two of a pair" in refusal(source, text_column=("a", "a"))
    assert "cannot be both label and text" in refusal(source, text_column=("a", "label"))
    assert "no column for --text-column d" in refusal(source, text_column=("a", "d"))
    with pytest.raises(BadInput, match=r"holds text \('a', 'b'\), which the model's own tokenizer must read"):
        open_source(write("t.csv", "a,b,label\nx,y,0\n"))


def test_without_a_label_column_the_data_are_unlabelled(write: Write) -> None:
    found = open_source(write("t.csv", "a,b\n1,2\n3,4\n"))
    assert not found.labelled
    assert found.parts["train"].labels() is None


def test_a_folder_of_tables_has_its_splits_and_one_of_images_stays_one(write: Write, tmp_path: Path) -> None:
    for name, label in (("train", 0), ("dev", 1), ("test", 2)):
        write(f"d/{name}.tsv", f"text\tlabel\nhello\t{label}\n")
    found = read_tables(str(tmp_path / "d"), Reading())
    assert {name: part.labels().tolist() for name, part in found.parts.items()} == {
        "train": [0],
        "val": [1],
        "test": [2],
    }
    assert kind_of(str(tmp_path / "d")) == "table"
    write("d/cat/1.png", b"")
    assert kind_of(str(tmp_path / "d")) == "image folder"


def test_parquet_holds_the_same_as_csv(write: Write, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"label": ["b", "a", "b"], "unused": [[1], [2], [3]], "text": ["x y", "z", "long one"]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    found = read_tables(str(tmp_path / "t.parquet"), Reading())
    part = found.parts["train"]
    assert [part.fetch(at) for at in range(3)] == columns["text"]
    assert part.labels().tolist() == [1, 0, 1]
    assert part.name(2) == "t.parquet row 3"
    numbers = {"b": [1.5, 2.5], "label": [True, False], "a": [1, 2]}
    parquet.write_table(pyarrow.table(numbers), tmp_path / "n.parquet")
    part = read_tables(str(tmp_path / "n.parquet"), Reading()).parts["train"]
    assert [part.fetch(at).tolist() for at in range(2)] == [[1.5, 1.0], [2.5, 2.0]]
    assert part.labels().tolist() == [1, 0]
    parquet.write_table(pyarrow.table({"label": [1, None], "a": [1, 2]}), tmp_path / "n.parquet")
    assert "n.parquet row 2, column 'label': no label" in refusal(str(tmp_path / "n.parquet"))
    assert "cannot be read as Parquet" in refusal(write("damaged.parquet", b"PAR1" + bytes(50)))


def test_text_becomes_ids_on_the_way_to_the_model(write: Write, tmp_path: Path) -> None:
    words = ["a", "bb", "ccc", "dddd", "eeeee"]
    rows = [(f"{one} {two}", (i + j) % 2) for i, one in enumerate(words) for j, two in enumerate(words)]
    source = write("t.tsv", "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    reading = Reading(encode=length_of)
    facts = peek(source, reading=reading)
    assert (facts.kind, facts.input_shape, facts.dtype, facts.labels) == ("table", (2,), "int64", "classes")
    how = Preprocessing(identity=True, input_shape=(2,), dtype="int64")
    materialise(source, tmp_path / "out", how, reading=reading)
    splits = [open_split(tmp_path / "out", name) for name in ("train", "val", "test")]
    seen = {(*map(int, x), int(y)) for split in splits for x, y in zip(split.inputs, split.labels, strict=True)}
    assert seen == {(*map(len, text.split()), label) for text, label in rows}
    with pytest.raises(BadInput, match="--tokenizer FILE"):
        open_source(source)


def test_a_text_that_cannot_become_ids_is_said_with_its_line(write: Write, tmp_path: Path) -> None:
    def encode(text: Text) -> np.ndarray:
        if text[0] == "7":
            raise BadInput("'7' will not do")
        return np.array([int(text[0]), 0])

    source = write("t.tsv", "premise\thypothesis\tlabel\n" + "".join(f"{at}\tx\t{at % 2}\n" for at in range(40)))
    how = Preprocessing(identity=True, input_shape=(2,), dtype="int64")
    with pytest.raises(BadInput, match=r"t\.tsv line 9: '7' will not do"):
        materialise(source, tmp_path / "out", how, reading=Reading(encode=encode))


HOSTILE = {
    "a NUL byte": ("t.csv", b"label,x\n1,2\n1,\0\n", "t.csv line 3 holds a NUL byte"),
    "UTF-16": ("t.csv", "label,x\n1,2\n".encode("utf-16"), "is not UTF-8 text"),
    "ragged": ("t.csv", "label,x\n1,2\n1,2,3\n", "t.csv line 3 has 3 cells where the first has 2"),
    "no number": ("t.csv", "label,age\n1,2\n1,old\n", "t.csv line 3, column 'age': 'old' is not a number"),
    "no label": ("t.csv", "label,age\n1,2\n ,3\n", "t.csv line 3, column 'label': no label"),
    "a label that is no number": ("t.csv", "label,age\n0.5,2\nnan,3\n", "t.csv line 3: the label 'nan' is not finite"),
    "a cell of 10 MB": ("t.csv", "label,text\n1," + "x" * 10_000_000, "t.csv line 2 is longer than"),
    "a cell of 1 MB": ("t.csv", "label,text\n1," + "x" * 1_000_000, "field larger than field limit"),
    "an open quote": ("t.csv", 'label,text\n1,"never closed\n', "unexpected end of data"),
    "two columns of one name": ("t.csv", "label,a,a\n1,2,3\n", "two columns named 'a'"),
    "rows that are counted": ("t.csv", ",label,a\n0,1,2\n", "column 1 of t.csv has no name"),
    "no header": ("t.csv", "1,2,3\n4,5,6\n", "has no header line"),
    "nothing": ("t.csv", "", "is empty"),
    "a header alone": ("t.csv", "label,a\n", "has a header but no samples"),
    "labels alone": ("t.csv", "label\n1\n", "no column besides 'label'"),
    "another name for labels": ("t.csv", "class,a\n1,2\n", "--label-column class"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_wrong_is_said_with_its_line(write: Write, case: str) -> None:
    name, content, said = HOSTILE[case]
    assert said in refusal(write(name, content))


def test_a_missing_label_column_is_named_with_the_nearest(write: Write) -> None:
    source = write("t.csv", "lable,a\n1,2\n")
    assert "did you mean 'lable'?" in refusal(source, label_column="label")


def test_splits_that_disagree(write: Write, tmp_path: Path) -> None:
    write("d/train.csv", "label,a\nx,1\ny,2\n")
    write("d/test.csv", "label,a\nz,1\n")
    assert "test.csv has classes that train.csv lacks: 'z'" in refusal(str(tmp_path / "d"))
    write("d/test.csv", "label,b\nx,1\n")
    assert "test.csv has no column 'a'" in refusal(str(tmp_path / "d"))
    write("d/dev.csv", "label,a\nx,1\n")
    write("d/val.csv", "label,a\nx,1\n")
    assert "keep one val file" in refusal(str(tmp_path / "d"))


@pytest.mark.parametrize("name", ["unlabelled.csv", "Unlabeled.tsv"])
def test_unlabelled_rows_need_no_label(write: Write, tmp_path: Path, name: str) -> None:
    write("d/train.csv", "a,label,b\n" + "".join(f"{at},{at % 2},{-at}\n" for at in range(30)))
    tab = "\t" if name.endswith("tsv") else ","
    write(f"d/{name}", f"b{tab}more{tab}a\n-7{tab}x{tab}107\n-8{tab}y{tab}108\n")
    source = str(tmp_path / "d")
    found = read_tables(source, Reading())
    more = found.unlabelled
    assert more is not None and more.labels() is None and found.notes == ()
    assert [more.fetch(at).tolist() for at in range(more.count)] == [[107, -7], [108, -8]]
    assert more.name(1) == f"{name} line 3"
    manifest = materialise(source, tmp_path / "out", Preprocessing(identity=True, input_shape=(2,)))
    train = open_split(tmp_path / "out", "train")
    assert manifest.unlabelled == 2 and len(train.labels) == len(train) - 2
    assert np.array_equal(train.labels, train.inputs[:-2, 0] % 2)


def test_unlabelled_text_is_encoded_too(write: Write, tmp_path: Path) -> None:
    write("d/train.tsv", "text\tlabel\n" + "".join(f"{'w' * at} {'v' * (at % 3)}\t{at % 3}\n" for at in range(1, 40)))
    write("d/unlabelled.tsv", "text\tlabel\naaa bbbbbb\t\n")
    source = open_source(str(tmp_path / "d"), reading=Reading(encode=length_of))
    assert source.unlabelled is not None and source.unlabelled.fetch(0).tolist() == [3, 6]
    assert source.notes == ("labels of unlabelled samples were not read",)


def test_unlabelled_tables_that_do_not_fit(write: Write, tmp_path: Path) -> None:
    source = str(tmp_path / "d")
    write("d/train.csv", "label,a,b\n0,1,2\n1,2,3\n")
    write("d/unlabelled.csv", "a,c\n1,2\n")
    assert "unlabelled.csv has no column 'b', which train.csv has" in refusal(source)
    write("d/unlabelled.csv", "a,b\n1,2\n1,x\n")
    assert "unlabelled.csv line 3, column 'b': 'x' is not a number" in refusal(source)
    write("d/unlabelled.csv", "a,b\n")
    assert "unlabelled.csv has a header but no samples" in refusal(source)
    write("d/unlabeled.csv", "a,b\n1,2\n")
    assert "keep one unlabelled file" in refusal(source)
    (tmp_path / "d" / "unlabeled.csv").rename(tmp_path / "d" / "unlabelled.csv")
    (tmp_path / "d" / "train.csv").unlink()
    assert "has 'unlabelled.csv' but no train file" in refusal(source)
