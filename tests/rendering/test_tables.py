import pytest

from edgekd.figures import Number
from edgekd.rendering.tables import sort_key


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        (Number(value=19.4, unit="ms", word="estimated", place="pi"), 19.4),
        ("1.50 MiB", 1536.0),
        ("900 KiB", 900.0),
        ("2.00 s", 2000.0),
        ("60.0 µs", 0.06),
        ("10,000", 10000.0),
        ("62.4 M", 62.4e6),
        ("-0.07 points", -0.07),
        ("\u22122.4\u202fMiB", -2.4 * 1024),
        ("+0.78 points", 0.78),
        (".5", 0.5),
    ],
)
def test_cells_are_sorted_by_what_they_say(cell: str | Number, key: float) -> None:
    assert float(sort_key(cell)) == pytest.approx(key)


@pytest.mark.parametrize("cell", [None, "", "int8_static", "not known", "\u2013"])
def test_words_have_no_number(cell: str | None) -> None:
    assert sort_key(cell) == ""
