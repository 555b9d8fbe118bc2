import lzma
import math
import runpy
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from edgekd.device import load_profile
from edgekd.errors import BadInput, UsageError
from edgekd.latency import predict, predict_file
from edgekd.latency.conversion import Work, time_from_counts
from edgekd.latency.costs import instructions
from edgekd.latency.graph import NodeCost, summarise
from edgekd.latency.predictor import work_of

small = runpy.run_path(str(Path(__file__).parent / "small_graphs.py"))
convolution = small["convolution"]
GRAPHS = Path(__file__).resolve().parents[2].parent / "shared" / "truth" / "graphs"

PUBLISHED = [
    # Ultralytics documentation, guide for the Raspberry Pi, ONNX Runtime on all four cores, 640 x 640 pixels, fp32.
    ("raspberry-pi-5", "yolov8n", 198.69),
    ("raspberry-pi-5", "yolo11n", 147.2),
    ("raspberry-pi-5", "yolo11n", 168.08),
    ("raspberry-pi-5", "yolo11s", 366.83),
    ("raspberry-pi-5", "yolo11m", 997.46),
    ("raspberry-pi-4", "yolov8n", 560.04),
]


def published_graph(name: str) -> onnx.ModelProto:
    path = GRAPHS / f"{name}.onnx.xz"
    if not path.exists():
        pytest.skip(f"no graph of {name} beside this checkout")
    return onnx.load_from_string(lzma.decompress(path.read_bytes()))


@pytest.mark.parametrize(("target", "model", "milliseconds"), PUBLISHED)
def test_published_latencies_lie_inside_the_interval(target, model, milliseconds):
    found = predict(published_graph(model), load_profile(target)).latency_ms
    assert found.low <= milliseconds <= found.high


def test_int8_on_a_pi_5_at_one_thread_agrees_with_the_published_inception():
    # 113.11 ms: Arm's model card, Inception v3 int8, ONNX Runtime on a Raspberry Pi 5. 703.3 M instructions counted,
    # 359.1 M of them dot products; 23.8 MB of weights at 10 GB/s.
    profile = load_profile("raspberry-pi-5")
    rates = profile.latency.int8
    alone = (359.1e6 * rates.multiply_cycles + 344.2e6 * rates.other_cycles) / 2.4e6 + 23.8 / 10
    work = Work("conv_3x3", "int8", 359.1e6, 344.2e6, weight_bytes=23.8e6)
    found = time_from_counts([work], profile, threads=1)
    assert found.value == pytest.approx(alone, abs=1e-3)
    assert found.value == pytest.approx(113.11, rel=0.03)


@pytest.mark.parametrize(
    ("name", "gmacs"), [("mobilenet_v2", 0.3136), ("resnet50", 3.858), ("googlenet", 1.583), ("squeezenet", 0.4185)]
)
def test_macs_of_real_graphs_agree_with_the_published_layer_tables(name, gmacs):
    assert summarise(published_graph(name)).macs == pytest.approx(gmacs * 1e9, rel=0.01)


@pytest.mark.parametrize(("name", "counted"), [("yolo11n", 1513.8e6), ("yolov8n", 1854.5e6)])
def test_instructions_of_whole_networks_agree_with_what_was_counted(name, counted):
    # ONNX Runtime 1.31.1 for aarch64 under QEMU as a Cortex-A76, one thread, sum over its profiler's nodes.
    found = [instructions(node, "dotprod") for node in summarise(published_graph(name)).nodes]
    assert sum(one.multiply + one.other for one in found) == pytest.approx(counted, rel=0.05)


def test_older_boards_are_slower():
    boards = ["raspberry-pi-zero-2-w", "raspberry-pi-3b-plus", "raspberry-pi-4", "raspberry-pi-5"]
    for precision in ("fp32", "int8"):
        model = convolution(channels=64, filters=64, size=28)
        times = [predict(model, load_profile(b), precision=precision).latency_ms.value for b in boards]
        assert times == sorted(times, reverse=True)
        assert len(set(times)) == len(boards)


def test_int8_pays_with_a_dot_product_and_hardly_without():
    model = convolution(channels=256, filters=256, size=14)

    def gain(board):
        fp32, int8 = (predict(model, load_profile(board), precision=p).latency_ms.value for p in ("fp32", "int8"))
        return fp32 / int8

    assert 2.5 <= gain("raspberry-pi-5") <= 4.5
    assert 1.0 <= gain("raspberry-pi-4") <= 2.2


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["conv_1x1", "conv_3x3", "conv_grouped", "conv_depthwise", "gemm", "matmul"]),
    precision=st.sampled_from(["fp32", "int8"]),
    level=st.sampled_from(["neon", "dotprod"]),
    macs=st.integers(10**3, 10**9),
    more=st.integers(10**3, 10**9),
)
def test_more_macs_are_more_instructions(kind, precision, level, macs, more):
    def total(count):
        found = instructions(NodeCost("n", kind, precision, count, 1000, 5000, 5000), level)
        assert found.multiply >= 0 and found.other >= 0
        return found.multiply + found.other

    assert total(macs + more) > total(macs)


def test_latency_is_the_sum_over_operators_and_grows_with_work():
    profile = load_profile("raspberry-pi-5")
    thin, wide = (predict(convolution(filters=f), profile) for f in (16, 64))
    assert sum(wide.by_operator.values()) == pytest.approx(wide.latency_ms.value, abs=1e-3)
    assert wide.latency_ms.value > thin.latency_ms.value
    assert wide.latency_ms.word == "estimated" and wide.latency_ms.low < wide.latency_ms.value < wide.latency_ms.high


def test_one_thread_takes_longer_has_no_crowding_and_a_wider_band():
    profile = load_profile("raspberry-pi-5")
    model = convolution(channels=64, filters=64, size=28)
    four, one = (predict(model, profile, threads=n).latency_ms for n in (4, 1))
    (node,) = summarise(model).nodes
    work = work_of(node, "dotprod")
    crowding = work.other * profile.latency.fp32.crowding_ns * 1e-6
    assert 4 * (four.value - crowding) == pytest.approx(one.value, rel=0.1)  # but for the weights, which stream
    assert one.high / one.value > four.high / four.value


def test_a_model_far_from_the_measurements_gets_a_wider_interval():
    profile = load_profile("raspberry-pi-5")
    found = predict(convolution(), profile)
    smallest = profile.latency.fitted_gmacs[0] * 1e9
    assert found.distance == pytest.approx(math.log(smallest / (16 * 100 * 72)), abs=1e-3)
    widened = found.latency_ms.high / found.latency_ms.value
    assert widened == pytest.approx(profile.latency.fp32.high * (1 + found.distance / 4), rel=0.01)


def test_fp16_gains_nothing_and_may_lose_a_lot():
    profile = load_profile("raspberry-pi-5")
    fp32, fp16 = (predict(convolution(), profile, precision=p).latency_ms for p in ("fp32", "fp16"))
    assert fp16.value == fp32.value and fp16.high == pytest.approx(4 * fp32.high, rel=1e-3)


def test_memory_grows_by_what_weights_and_activations_take():
    profile = load_profile("raspberry-pi-4")
    thin, wide = (predict(convolution(filters=f, size=64), profile).peak_memory_kib for f in (16, 1024))
    weights, activations = (1024 - 16) * 72 * 4, (1024 - 16) * 64 * 64 * 4
    assert wide.value - thin.value == pytest.approx(((2.57 + 1.77) * weights + 2.45 * activations) / 1024, abs=0.2)
    assert thin.unit == "KiB"


def test_a_runtime_without_measurements_is_not_estimated():
    found = predict(convolution(), load_profile("raspberry-pi-5"), runtime="openvino")
    assert found.latency_ms is None and found.peak_memory_kib is None
    assert "no measurements of openvino" in found.error


def test_runtimes_and_threads_that_the_device_lacks_are_refused():
    profile = load_profile("raspberry-pi-4")
    with pytest.raises(UsageError, match="no runtime 'openvino'"):
        predict(convolution(), profile, runtime="openvino")
    with pytest.raises(UsageError, match="has 4 cores"):
        predict(convolution(), profile, threads=5)


def test_predict_file_covers_every_device_and_says_who_has_too_few_cores(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(convolution()), path)
    found = predict_file(path, threads=6)
    errors = {one.target: one.error for one in found.predictions}
    assert errors["jetson-orin-nano"] is None
    assert "4 cores" in errors["raspberry-pi-5"]
    written = found.model_dump(mode="json", by_alias=True)
    assert written["schema"] == 1
    assert written["model"]["macs"] == 16 * 100 * 72 and len(written["model"]["sha256"]) == 64
    keys = {"target", "runtime", "runtime_version", "threads", "precision", "latency_ms", "peak_memory_kib"}
    assert keys | {"distance", "error"} <= set(written["predictions"][0])


def test_predict_file_takes_aliases_and_refuses_what_is_no_model(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.shape_inference.infer_shapes(convolution()), path)
    assert [one.target for one in predict_file(path, target="pi4").predictions] == ["raspberry-pi-4"]
    path.write_bytes(b"no model")
    with pytest.raises(BadInput):
        predict_file(path)


def test_what_cannot_be_counted_is_told_and_widens_the_interval(tmp_path):
    nodes = [helper.make_node("Exp", ["x"], ["e"]), helper.make_node("NonZero", ["e"], ["y"], name="find")]
    model = small["model"](nodes, inputs={"x": [1, 3]}, outputs=["y"])
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", onnx.TensorProto.INT64, [2, "found"]))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    found = predict_file(path, target="raspberry-pi")
    assert [note.split(":")[0][-16:] for note in found.notes][1:] == ["'find' (NonZero)"]
    assert found.notes[0].startswith("raspberry-pi is taken as raspberry-pi-5")
    sized = small["model"](nodes[:1], inputs={"x": [1, 3]}, outputs=["e"])
    closer = predict(sized, load_profile("raspberry-pi-5"))
    assert found.predictions[0].distance == pytest.approx(closer.distance + 1)
