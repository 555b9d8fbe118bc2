"""Climbing: where it stops, what it tries, what it writes down; and a hard case that plain int8 loses."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.device import Numerics
from edgekd.errors import BadInput
from edgekd.runtimes import predict_batches
from edgekd.schemes import trials
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.int8_mixed import int8_mixed
from edgekd.schemes.int8_searched import int8_searched
from edgekd.schemes.int8_static import int8_static
from edgekd.schemes.ladder import climb, enough
from edgekd.schemes.quantizer import prepare
from edgekd.schemes.ranges import find_ranges
from edgekd.schemes.scheme import Evidence
from edgekd.schemes.trials import Ground, Trial, best_trial, measured_noise, open_ground, smallest_prefix

X86 = Numerics(activations="uint8", per_channel=True, reduce_range=False)


@pytest.mark.parametrize(
    ("teacher", "drop", "expected"),
    [
        (0.92, None, 0.915),  # half a point under fp32
        (0.937, None, 0.917),  # more than two points under the teacher would not ship
        (0.93, 0.02, 0.91),  # what the budget leaves
        (0.95, 0.02, 0.915),  # fp32 is below that already
    ],
)
def test_what_is_enough(teacher: float, drop: float | None, expected: float) -> None:
    assert enough(0.92, teacher, drop) == pytest.approx(expected)


def test_climbing_stops_at_the_first_rung_that_is_enough() -> None:
    scores = {"int8_static": 0.5, "int8_mixed": 0.91, "int8_qad": 0.99}
    written: list[str] = []

    def write(rung: str) -> str | None:
        written.append(rung)
        return "it has no bias" if rung == "int8_corrected" else None

    steps = climb(
        ("int8_static", "int8_corrected", "int8_mixed", "int8_qad"), write=write, score=scores.__getitem__, enough=0.9
    )
    assert written == ["int8_static", "int8_corrected", "int8_mixed"]
    assert [(step.score, step.inside, step.reason) for step in steps] == [
        (0.5, False, ""),
        (None, False, "it has no bias"),
        (0.91, True, ""),
    ]


@pytest.mark.parametrize("needed", [1, 2, 3, 5, 8, 13, 16, 17])
def test_the_smallest_prefix_is_found_in_few_tries(needed: int) -> None:
    tried: list[int] = []

    def inside(names: list[str]) -> bool:
        tried.append(len(names))
        return len(names) >= needed

    found = smallest_prefix([str(at) for at in range(16)], inside)
    assert found == (needed if needed <= 16 else None)
    assert len(tried) <= 9


def test_the_best_trial_is_the_fastest_that_is_enough() -> None:
    def trial(score: float, latency: float, *names: str) -> Trial:
        return Trial(left_float=names, score=score, latency_ms=latency, seconds=0)

    trials = [trial(0.7, 1), trial(0.9, 5, "a", "b"), trial(0.91, 4, "a"), trial(0.99, 9, "a", "b", "c")]
    assert best_trial(trials, 0.9).left_float == ("a",)
    assert best_trial(trials, 0.999).left_float == ("a", "b", "c")
    assert best_trial([trial(0.9, 1, "b"), trial(0.9, 1)], 0.9).left_float == ()


class Hard:
    """Nine products in a row; before the last but one, one of 16 channels is 1,000 times as large as the others."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        self.model, self.inputs = folder / "hard.onnx", rng.standard_normal((400, 16)).astype(np.float32)
        nodes, constants, last = [], [], "input"
        for at in range(9):
            weight = np.linalg.qr(rng.standard_normal((16, 16)))[0]
            if at == 6:
                weight[:, 3] *= 1000
            if at == 7:
                weight[3] /= 1000
            constants.append(numpy_helper.from_array(weight.astype(np.float32), f"w{at}"))
            nodes.append(helper.make_node("MatMul", [last, f"w{at}"], [f"x{at}"], name=f"product{at}"))
            last = f"x{at}"
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 16]) for name in ("input", last)]
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), self.model)
        self.labels = self.classes(self.model)
        self.calibration = CalibrationData(self.inputs[:200])
        self.scored: list[float] = []
        self.evidence = Evidence(
            score=self.score,
            enough=0.9,
            milliseconds=lambda graph: float(sum(node.op_type == "MatMul" for node in graph.graph.node)),
            float_blocks=lambda path: (),
            seconds=600,
            folder=folder,
            training=self.calibration,
            classifier=True,
        )

    def classes(self, path: Path) -> np.ndarray:
        return predict_batches(path, [self.inputs]).argmax(1)

    def score(self, path: Path) -> float:
        self.scored.append(float((self.classes(path) == self.labels).mean()))
        return self.scored[-1]


@pytest.fixture
def hard(tmp_path: Path) -> Hard:
    return Hard(tmp_path)


@pytest.mark.parametrize("scheme", [int8_mixed, int8_searched])
def test_leaving_the_layers_at_fault_float_brings_the_score_back(hard: Hard, tmp_path: Path, scheme) -> None:
    int8_static(hard.model, tmp_path / "s.onnx", calibration=hard.calibration, numerics=X86)
    assert hard.score(tmp_path / "s.onnx") < 0.6
    out = tmp_path / "m.onnx"
    result = scheme(hard.model, out, calibration=hard.calibration, numerics=X86, evidence=hard.evidence)
    assert hard.score(out) >= 0.9
    assert set(result.left_float) & {"product6", "product7"} and len(result.left_float) <= 3
    floats = {node.name for node in onnx.load(out).graph.node if node.op_type == "MatMul"}
    assert set(result.left_float) <= floats


def test_a_search_goes_on_from_its_trace(hard: Hard, tmp_path: Path) -> None:
    arguments = {"calibration": hard.calibration, "numerics": X86, "evidence": hard.evidence}
    int8_searched(hard.model, tmp_path / "a.onnx", **arguments)
    trace = json.loads((tmp_path / "a.trials.json").read_text())
    assert len(trace["trials"]) == len(hard.scored) > 2
    spent = len(hard.scored)
    written = (tmp_path / "a.onnx").read_bytes()
    int8_searched(hard.model, tmp_path / "a.onnx", **arguments)
    assert len(hard.scored) == spent
    assert (tmp_path / "a.onnx").read_bytes() == written
    other = X86.model_copy(update={"per_channel": False})  # what was tried does not hold for other numbers
    int8_searched(hard.model, tmp_path / "a.onnx", **arguments | {"numerics": other})
    assert len(hard.scored) > spent


def test_two_variants_keep_a_trace_each(hard: Hard, tmp_path: Path) -> None:
    arguments = {"calibration": hard.calibration, "numerics": X86, "evidence": hard.evidence}
    out, tensor = tmp_path / "int8_mixed.onnx", tmp_path / "int8_mixed-tensor.onnx"
    int8_mixed(hard.model, out, **arguments)
    int8_mixed(hard.model, tensor, **arguments | {"numerics": X86.model_copy(update={"per_channel": False})})
    spent = len(hard.scored)
    int8_mixed(hard.model, out, **arguments)
    assert len(hard.scored) == spent


def ground_of(hard: Hard, **changes: float) -> Ground:
    prepared = prepare(hard.model)
    ranges = find_ranges(prepared.graph, hard.calibration, "minmax")
    return open_ground(prepared, ranges, X86, replace(hard.evidence, **changes), name="m")


def test_noise_is_measured_once_for_all_searches(hard: Hard, tmp_path: Path) -> None:
    arguments = {"calibration": hard.calibration, "numerics": X86, "evidence": hard.evidence}
    int8_mixed(hard.model, tmp_path / "m.onnx", **arguments)
    [kept] = tmp_path.glob("noise-*.json")
    content = json.loads(kept.read_text())
    assert {one["node"] for one in content["layers"][:2]} == {"product6", "product7"}
    content["layers"] = [one for one in content["layers"] if one["node"] == "product0"]
    kept.write_text(json.dumps(content))  # what is read again is what is kept
    searched = int8_searched(hard.model, tmp_path / "s.onnx", **arguments)
    assert set(searched.left_float) <= {"product0"}
    kept.write_text("half of")
    assert len(measured_noise(ground_of(hard), hard.calibration).layers) == 9


def test_noise_that_there_was_no_time_for_is_measured_later(hard: Hard, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(1000))
    with monkeypatch.context() as patched:
        patched.setattr(trials, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
        ground = ground_of(hard, seconds=3)
        few = measured_noise(ground, hard.calibration)
    assert (few.complete, sorted(one.node for one in few.layers)) == (False, ["product0", "product1", "product2"])
    assert few.notes == ("only 3 layers' noise was measured before time was over",)
    whole = measured_noise(ground_of(hard), hard.calibration)
    assert (whole.complete, whole.notes, len(whole.layers)) == (True, (), 9)
    assert set(few.layers) < set(whole.layers)
    assert [one.sqnr_db for one in whole.layers] == sorted(one.sqnr_db for one in whole.layers)


@pytest.mark.parametrize("scheme", [int8_mixed, int8_searched])
def test_inputs_that_do_not_fit_are_refused_in_a_sentence(hard: Hard, tmp_path: Path, scheme) -> None:
    ranges = find_ranges(prepare(hard.model).graph, hard.calibration, "minmax")
    narrow = hard.inputs[:40, :15]
    for data in (CalibrationData(narrow), CalibrationData(narrow, given=ranges)):  # at the ranges, and at the noise
        with pytest.raises(BadInput, match=r"hard\.onnx: ONNX Runtime cannot quantize this graph"):
            scheme(hard.model, tmp_path / "m.onnx", calibration=data, numerics=X86, evidence=hard.evidence)


def test_where_nothing_is_enough_the_best_is_written_and_said(hard: Hard, tmp_path: Path) -> None:
    evidence = replace(hard.evidence, enough=1.1)
    result = int8_mixed(hard.model, tmp_path / "m.onnx", calibration=hard.calibration, numerics=X86, evidence=evidence)
    assert any("110.00 % were not reached" in note for note in result.notes)
    assert hard.score(tmp_path / "m.onnx") == max(hard.scored)


def test_a_limit_of_time_ends_a_search_with_what_there_is(hard: Hard, tmp_path: Path) -> None:
    evidence = replace(hard.evidence, seconds=0)
    result = int8_searched(
        hard.model, tmp_path / "m.onnx", calibration=hard.calibration, numerics=X86, evidence=evidence
    )
    assert result.left_float == () and len(hard.scored) == 1
    assert any("ended after 0 s, its limit" in note for note in result.notes)
    assert "only 0 layers' noise was measured before time was over" in result.notes
    result = int8_mixed(hard.model, tmp_path / "n.onnx", calibration=hard.calibration, numerics=X86, evidence=evidence)
    assert result.skipped == "0 s, its limit, were over before anything was tried"
    assert not (tmp_path / "n.onnx").exists()
