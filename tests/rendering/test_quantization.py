"""What the report says of int8: the ladder in a sentence, and each figure in its table."""

import runpy
from pathlib import Path

from edgekd.rendering.markdown import render_markdown
from edgekd.rendering.quantization import climbed, quantization_tables
from edgekd.results import Report

sample = runpy.run_path(str(Path(__file__).parent / "sample_report.py"))
invented = runpy.run_path(str(Path(__file__).parent / "sample_quantization.py"))


def report(**changes: object) -> Report:
    built: Report = sample["sample_report"](**changes)
    return built


def test_the_ladder_in_a_sentence() -> None:
    assert climbed(report()) == (
        "int8_static scored 91.10 % where 92.50 % on validation were wanted; int8_mixed mended it, 92.88 %."
    )
    steps = invented["ladder"]()
    assert climbed(report(ladder=steps[:1])) == ""  # the first rung was enough, or there were no others
    assert climbed(report(ladder=steps[:2])) == (
        "No int8 scheme was enough where 92.50 % on validation were wanted; the best is int8_static, 91.10 %."
    )


def test_a_broken_rung_is_not_a_score() -> None:
    broken, *others = invented["ladder"]()
    broken = broken.model_copy(update={"score": None, "reason": "below the floor"})
    assert climbed(report(ladder=(broken, *others))) == (
        "int8_static was broken where 92.50 % on validation were wanted; int8_mixed mended it, 92.88 %."
    )
    assert climbed(report(ladder=(broken, others[0]))) == "Every int8 scheme was broken."


def test_notes_and_schemes_that_do_not_apply_have_a_table() -> None:
    noted = invented["files"]()[1].model_copy(update={"notes": ("3 of 20 layers are float",)})
    tables = quantization_tables(report(files=(noted,), skipped={"int8_weights": "no matrices"}))
    (notes,) = [table for table in tables if table.title == "Notes on schemes"]
    assert notes.rows == (("int8_static", "3 of 20 layers are float"), ("int8_weights", "does not apply: no matrices"))


def test_every_table_has_its_figures() -> None:
    ladder, costs, faults, layers = quantization_tables(report())
    assert [row[0] for row in ladder.rows] == ["int8_static", "int8_corrected", "int8_mixed"]
    assert [row[3] for row in ladder.rows] == ["too low", "neither of the two helps", "enough"]
    ((scheme, ratio, pays, left, macs, parameters, floats),) = costs.rows
    assert (scheme, pays, left) == ("int8_static", "yes", "3 DequantizeLinear, 2 QuantizeLinear")
    assert (macs, parameters, floats) == ("98 %", "99 %", "1") and ratio.word == "estimated"
    assert faults.rows[0][:3] == ("layer1.0.act", "HardSwish", "8.3 %")
    assert [row[0] for row in layers.rows] == ["layer1.0.act", "conv1", "layer1.0.act.kept"]  # the worst first
    assert [row[3] for row in layers.rows] == ["int8", "int8", "float"]


def test_where_nothing_is_known_nothing_is_shown() -> None:
    bare = report(files=(), ladder=())
    assert quantization_tables(bare) == () and climbed(bare) == ""
    assert "How int8 was made" not in render_markdown(bare)


def test_what_shipped_is_what_is_shown() -> None:
    static = invented["files"]()[1]
    other = static.model_copy(update={"scheme": "int8_dynamic", "layers": static.layers[1:]})
    titles = [table.title for table in quantization_tables(report(files=(other, static)))]
    assert titles[-1] == "Noise by layer, int8_static"
