"""Estimates for x86 devices: by the operators timed here where they were, and carried over where not."""

from pathlib import Path

import onnx
import pytest

from edgekd.calibration.draft import Draft
from edgekd.device import load_profile
from edgekd.errors import BadInput
from edgekd.latency import predict_file
from edgekd.latency.graph import summarise
from edgekd.latency.operator_costs import KindCosts, OperatorCosts
from edgekd.latency.optimised import optimise
from edgekd.latency.x86 import multiply_ns, nanoseconds, per_inference
from edgekd.own_profiles import host_costs_file
from edgekd.this_machine import is_x86

pytestmark = pytest.mark.skipif(not is_x86(), reason="host is priced by its operators on x86 machines only")


@pytest.fixture
def model(tmp_path) -> Path:
    path = tmp_path / "model.onnx"
    draft = Draft((1, 8, 10, 10))
    draft.convolution("input", 16, 3)
    onnx.save(draft.model(), path)
    return path


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def calibrated(**changes) -> None:
    """Write a calibration of this machine, at which every operator takes 0.1 ms and a call 0.05."""
    host = load_profile("host")
    flat = {"activation": KindCosts(linear=(0, 0, 0, 0, 0, 1e5)), "conv_3x3": KindCosts(linear=(0, 0, 0, 0, 0, 1e5))}
    fields = {
        **{"schema": 2, "processor": host.soc, "runtime_version": host.runtimes["onnxruntime"].version},
        **{"date": "2026-11-22", "reference_ns": 1e6, "run_ns": 5e4, "low": 0.8, "high": 1.25, "median_error": 0.04},
        **{"graphs": 10, "fp32": flat, "int8": {}, **changes},
    }
    host_costs_file().parent.mkdir(parents=True)
    host_costs_file().write_text(OperatorCosts(**fields).model_dump_json(by_alias=True))


def test_a_calibrated_machine_takes_the_sum_of_its_operators(model):
    flat = {kind: KindCosts(linear=(0, 0, 0, 0, 0, 1e5)) for kind in ("conv_3x3", "data_movement", "activation")}
    calibrated(fp32=flat)
    found = predict_file(model, target="host", threads=1)
    nodes = summarise(optimise(model, arm=False, layout=True), optimised=True).nodes
    [one] = found.predictions
    assert one.latency_ms.value == pytest.approx(0.1 * len(nodes) + 0.05)
    assert one.latency_ms.low == pytest.approx(0.8 * one.latency_ms.value, rel=1e-3)
    assert one.latency_ms.high == pytest.approx(1.25 * one.latency_ms.value, rel=1e-3)
    assert (one.distance, found.notes) == (0.0, ())
    assert sum(one.by_operator.values()) == pytest.approx(0.1 * len(nodes))


def test_two_threads_share_what_is_large_and_widen_the_interval(model):
    calibrated()
    one, two = (predict_file(model, target="host", threads=threads).predictions[0] for threads in (1, 2))
    assert 0.5 < two.latency_ms.value / one.latency_ms.value < 0.8
    assert two.latency_ms.high / two.latency_ms.value > one.latency_ms.high / one.latency_ms.value


def test_operators_that_were_never_timed_are_a_distance(model):
    calibrated(fp32={"activation": KindCosts(linear=(0, 0, 0, 0, 0, 1e5))})
    assert predict_file(model, target="host", threads=1).predictions[0].distance == 1.0


@pytest.mark.parametrize("changes", [{"processor": "another"}, {"runtime_version": "1.0"}])
def test_a_calibration_of_another_machine_or_runtime_does_not_count(changes, model):
    calibrated(**changes)
    [note] = predict_file(model, target="host").notes
    assert "devices calibrate host" in note and next(iter(changes.values())) in note


def test_without_a_calibration_prices_are_carried_over_and_that_is_said(model):
    found = predict_file(model, target="host", threads=1)
    assert "not calibrated" in found.notes[0]
    [one] = found.predictions
    assert one.latency_ms.high / one.latency_ms.low > 3


def test_the_n100_multiplies_so_much_slower(model):
    profile = load_profile("intel-n100")
    nodes = summarise(optimise(model, arm=False, layout=True), optimised=True).nodes
    rates = profile.latency.fp32
    slower = rates.multiply_cycles / profile.latency.speeds_ghz[0] / 4 / multiply_ns()
    expected = slower * (sum(map(nanoseconds, nodes)) + per_inference()) / 1e6
    [one] = predict_file(model, target="intel-n100", threads=1).predictions
    assert slower > 1
    assert one.latency_ms.value == pytest.approx(expected, abs=1e-4)
    assert one.latency_ms.high / one.latency_ms.value >= rates.high


def test_a_calibration_that_is_none_is_refused(model):
    calibrated()
    host_costs_file().write_text("{}")
    with pytest.raises(BadInput, match=r"host\.json.*calibrate again"):
        predict_file(model, target="host")
