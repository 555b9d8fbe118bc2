"""What is refused as another model, and what is left out because it means something else."""

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekd.errors import BadInput
from edgekd.figures import Number, Word
from edgekd.formats.onnx_file import OnnxValue
from edgekd.regression import comparable as module
from edgekd.regression.build import Build, open_build
from edgekd.regression.comparable import refuse_another, why_left_out

runs = runpy.run_path(str(Path(__file__).parent / "sample_runs.py"))
HERE = {"cpu": "Example", "architecture": "x86_64", "logical_cpus": 2, "versions": {"onnxruntime": "1.31.1"}}
BUILD = Build(name="new", edgekd="0.1.0", test="t", source="ab" * 32, environment=HERE, target="raspberry-pi-4")


def known(word: Word = "measured", *metrics: str) -> dict[str, Number]:
    return {metric: Number(value=1.0, unit="ms", word=word, place="host") for metric in metrics}


def refused(baseline: Build, build: Build, **options: bool) -> str:
    with pytest.raises(BadInput) as caught:
        refuse_another(baseline, build, **{"retrained": False, **options})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def left_out(baseline: Build, build: Build, metric: str, word: Word = "measured", **options: bool) -> str | None:
    figures = known(word, metric)
    return why_left_out(baseline, build, figures, figures, **{"from_files": False, **options}).get(metric)


def test_another_device_or_classes_are_refused_whatever_was_said() -> None:
    other = replace(BUILD, name="old", target="raspberry-pi-5")
    assert "for 'raspberry-pi-5', new for 'raspberry-pi-4'" in refused(other, BUILD, retrained=True)
    dogs, cats = replace(BUILD, classes=("dog",)), replace(BUILD, classes=("cat", "cow"))
    assert "it has 1 classes ('dog', ...), new has 2 classes ('cat', 'cow', ...)" in refused(dogs, cats, retrained=True)


def test_another_model_file_is_refused_unless_it_is_the_same_trained_anew() -> None:
    other = replace(BUILD, name="old", source="cd" * 32)
    said = refused(other, BUILD)
    assert "another model file" in said and "--retrained" in said and "cdcdcdcdcdcd" in said
    refuse_another(other, BUILD, retrained=True)
    refuse_another(replace(BUILD, source=None, target=None), BUILD, retrained=False)


def value(name: str = "x", dtype: str = "float32", shape: tuple[int | str | None, ...] | None = (1, 3)) -> OnnxValue:
    return OnnxValue(name=name, dtype=dtype, shape=shape)


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (value(), True),
        (value(shape=("batch", 3)), True),  # a free size fits any
        (value(shape=None), True),
        (value(shape=(1, 4)), False),
        (value(shape=(1, 3, 1)), False),
        (value(name="y"), False),
        (value(dtype="int64"), False),
    ],
)
def test_inputs_are_alike_where_names_types_and_fixed_sizes_are(other: OnnxValue, alike: bool) -> None:
    assert module._alike(value(), other) is module._alike(other, value()) is alike


@pytest.mark.parametrize("net", [{"inputs": 1}, {"outputs": 7}])
def test_other_inputs_or_outputs_are_another_model(tmp_path: Path, net: dict[str, Any]) -> None:
    old, new = runs["write_net"](tmp_path / "old.onnx", **net), runs["write_net"](tmp_path / "new.onnx")
    said = refused(open_build(old), open_build(new), retrained=True)
    assert "of another model" in said and ("(1, 3, 32, 32)" in said or "(1, 10)" in said)
    same = runs["write_net"](tmp_path / "same.onnx", extra=2)
    refuse_another(open_build(same), open_build(new), retrained=False)


@pytest.mark.parametrize(
    ("change", "metric", "word", "said"),
    [
        ({}, "score", "measured", None),
        ({"test": "u"}, "score", "measured", "other test samples"),
        ({"test": None}, "score", "measured", "other test samples"),
        ({}, "latency", "measured", "times taken at different moments"),
        ({}, "latency", "estimated", None),
        ({"edgekd": "0.2.0"}, "latency", "estimated", "edgekd '0.2.0' and '0.1.0'"),
        ({"edgekd": "0.2.0"}, "memory", "estimated", "edgekd '0.2.0' and '0.1.0'"),
        ({"edgekd": "0.2.0"}, "memory", "measured", None),
        ({"edgekd": "0.2.0"}, "size", "measured", None),
        ({}, "memory", "measured", None),
        ({"environment": HERE | {"cpu": "Other"}}, "memory", "measured", "another machine"),
        ({"environment": {}}, "memory", "measured", "another machine"),
        (
            {"environment": HERE | {"versions": {"onnxruntime": "1.20.0"}}},
            "memory",
            "measured",
            "'1.20.0' and '1.31.1'",
        ),
        ({"runtime": "openvino"}, "conversions", "measured", "OpenVINO"),
        ({"runtime": "openvino"}, "size", "measured", None),
    ],
)
def test_what_means_something_else_is_left_out(
    change: dict[str, Any], metric: str, word: Word, said: str | None
) -> None:
    reason = left_out(replace(BUILD, **change), BUILD, metric, word)
    assert (reason is None) if said is None else said in (reason or "")


def test_scores_of_two_kinds_and_figures_of_two_words_are_not_mixed() -> None:
    accuracy, agreement = replace(BUILD, score_name="accuracy"), replace(BUILD, score_name="agreement")
    assert "not of one kind" in (left_out(agreement, accuracy, "score") or "")
    assert left_out(BUILD, accuracy, "score") is None
    both = known("emulated", "score"), known("measured", "score")
    assert "never mixed" in why_left_out(BUILD, BUILD, *both, from_files=True)["score"]


def test_what_both_files_were_looked_at_for_just_now_is_comparable() -> None:
    other = replace(BUILD, edgekd="0.2.0", environment={})
    assert left_out(other, BUILD, "latency", "estimated", from_files=True) is None
    assert "other test samples" in (left_out(replace(other, test="u"), BUILD, "score", from_files=True) or "")


def test_instructions_of_two_cores_are_not_compared() -> None:
    before, now = (
        {"instructions": Number(value=1.0, unit="count", word="emulated", place=f"emulate:{core}@1.31.1")}
        for core in ("cortex-a72", "cortex-a76")
    )
    for from_files in (False, True):
        said = why_left_out(BUILD, BUILD, before, now, from_files=from_files)["instructions"]
        assert "'emulate:cortex-a72@1.31.1' and 'emulate:cortex-a76@1.31.1'" in said
        assert why_left_out(BUILD, BUILD, now, now, from_files=from_files) == {}


def test_what_only_one_side_knows_is_said() -> None:
    found = why_left_out(BUILD, BUILD, known("measured", "size"), known("measured", "score"), from_files=False)
    assert found == {"size": "not known of this build", "score": "not known of the baseline"}
