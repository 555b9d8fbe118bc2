"""One scheme or one runtime that fails costs itself, not the run."""

import platform
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd import quantized_file
from edgekd.device import resolve
from edgekd.errors import BadInput
from edgekd.figures import Number
from edgekd.preprocessing import Preprocessing
from edgekd.progress import silent
from edgekd.quantization import SchemeFile
from edgekd.runtimes import predict_batches
from edgekd.schemes.table import SCHEMES
from edgekd.stages import benchmark as benchmark_module
from edgekd.stages.benchmark import Contender, benchmark, contend, head_to_head
from edgekd.stages.quantize import quantize
from edgekd.tasks.classification import CLASSIFICATION
from edgekd.tasks.regression import REGRESSION

PI = resolve("raspberry-pi-4").profile
N100 = resolve("intel-n100").profile
HOW = Preprocessing(height=4, width=4, channels=1, mean=(0.5,), std=(0.5,))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Three logits, each the mean of one column of the image, as a matrix product."""
    weight = np.zeros((16, 3), np.float32)
    for column in range(3):
        weight[column::4, column] = 0.25
    return write(tmp_path / "model.onnx", [helper.make_node("MatMul", ["flat", "weight"], ["logits"])], weight)


def write(path: Path, nodes: list[onnx.NodeProto], weight: np.ndarray) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["input"], ["flat"]), *nodes],
        "columns",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(weight, "weight")],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("nobody.knows", 1)]
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=8), path)
    return path


def quantized(
    model: Path,
    folder: Path,
    *,
    preprocessing: Preprocessing = HOW,
    data: Path | None = None,
    schemes: tuple[str, ...] = ("fp32", "int8_dynamic", "int8_static"),
    rungs: tuple[str, ...] = (),
    drop: float | None = None,
):
    return quantize(
        folder,
        model=model,
        teacher=model,
        schemes=schemes,
        runtimes=("onnxruntime", "openvino"),
        rungs=rungs,
        profile=PI,
        preprocessing=preprocessing,
        task=CLASSIFICATION,
        data=data,
        loaded=folder,
        classes=3,
        calibration_images=64,
        drop=drop,
        seconds=60,
        seed=0,
        listen=silent,
    )


def refuse(*_, **__):
    raise BadInput("the operator Strange has no int8 form")


def test_a_scheme_that_fails_is_skipped_with_its_reason_and_fp32_is_not(model, tmp_path, monkeypatch):
    monkeypatch.setitem(SCHEMES, "int8_dynamic", refuse)
    found = quantized(model, tmp_path)
    assert found.skipped["int8_dynamic"] == "the operator Strange has no int8 form"
    assert [file.scheme for file in found.files] == ["fp32"]
    monkeypatch.setitem(SCHEMES, "fp32", refuse)
    with pytest.raises(BadInput, match="Strange"):
        quantized(model, tmp_path)


def test_a_file_whose_operators_cannot_be_listed_is_rejected(model, tmp_path, monkeypatch):
    monkeypatch.setattr(quantized_file, "operators_left", refuse)
    assert {file.rejected for file in quantized(model, tmp_path).files} == {"the operator Strange has no int8 form"}


@pytest.fixture
def lookup(tmp_path: Path) -> Path:
    """Token ids (1, 6) to the mean of a table's rows, times a matrix."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Gather", ["table", "input"], ["rows"]),
        helper.make_node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "lookup",
        [helper.make_tensor_value_info("input", TensorProto.INT64, [1, 6])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [
            numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
            for name, shape in (("table", (40, 32)), ("weight", (32, 3)))
        ],
    )
    path = tmp_path / "lookup.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("given", [True, False])
def test_token_ids_are_quantized_scored_and_timed_as_whole_numbers(lookup, tmp_path, same_cost, given):
    how = Preprocessing(identity=True, input_shape=(6,), dtype="int64")
    ids = np.random.default_rng(1).integers(0, 40, (100, 6))
    logits = predict_batches(lookup, [ids])
    (tmp_path / "data").mkdir()
    for name in ("train", "val", "test"):
        np.save(tmp_path / "data" / f"{name}_inputs.npy", ids)
        np.save(tmp_path / "data" / f"{name}_labels.npy", logits.argmax(1))
    data = tmp_path / "data" if given else None
    written = quantized(lookup, tmp_path, preprocessing=how, data=data)
    assert {file.scheme for file in written.files} == {"fp32", "int8_dynamic"} | ({"int8_static"} if given else set())
    assert all(file.rejected is None and (file.sqnr_db or 0) > 25 for file in written.files)
    contenders, notes = contend(written.files, PI, ("onnxruntime",))
    found = benchmark(
        models={"teacher": lookup},
        contenders=contenders,
        files=tmp_path,
        profile=PI,
        preprocessing=how,
        task=CLASSIFICATION,
        data=data,
        loaded=tmp_path,
        notes=notes,
        seconds=0.02,
        listen=silent,
    )
    assert found.rejected == {}
    assert {c.score and c.score.value for c in found.candidates[:1]} == ({1.0} if given else {None})


def scheme_file(scheme: str, path: Path, rejected: str | None = None) -> SchemeFile:
    return SchemeFile(scheme=scheme, file=path.name, sha256="0" * 64, size_kib=1.0, rejected=rejected)


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """Nine images, each with one bright column of three; the second of the test images has the wrong label."""
    labels = np.arange(9) % 3
    images = np.zeros((9, 4, 4, 1), np.uint8)
    images[np.arange(9), :, labels] = 255
    (tmp_path / "data").mkdir()
    for name in ("train", "val", "test"):
        np.save(tmp_path / "data" / f"{name}_inputs.npy", images)
        wrong = labels.copy()
        wrong[1] = 0 if name == "test" else 1
        np.save(tmp_path / "data" / f"{name}_labels.npy", wrong.astype(np.int64))
    return tmp_path / "data"


def test_unlabelled_samples_calibrate_too_and_hide_no_class_as_missing(model, splits, tmp_path):
    labels = np.minimum(np.load(splits / "train_labels.npy"), 1)
    np.save(splits / "train_labels.npy", labels)
    whole = quantized(model, tmp_path, data=splits)
    assert any("no calibration input of class 2" in note for note in whole.notes)
    np.save(splits / "train_labels.npy", labels[:6])
    mixed = quantized(model, tmp_path, data=splits)
    assert not any("of class" in note for note in mixed.notes) and mixed.files == whole.files


def examined(files: list[SchemeFile], model: Path, data: Path, profile=PI, task=CLASSIFICATION):
    contenders, notes = contend(tuple(files), profile, ("onnxruntime",))
    return benchmark(
        models={"teacher": model},
        contenders=contenders,
        files=model.parent,
        profile=profile,
        preprocessing=HOW,
        data=data,
        task=task,
        loaded=model.parent,
        notes=notes,
        seconds=0.02,
        listen=silent,
    )


@pytest.fixture
def same_cost(monkeypatch):
    ratio = Number(value=1.0, low=0.9, high=1.1, unit="x", word="measured", place="host")
    monkeypatch.setattr(benchmark_module, "compare", lambda *_, **__: ratio)


def test_what_a_runtime_does_not_load_is_listed_with_the_reason(model, splits, same_cost):
    strange = helper.make_node("MatMul", ["flat", "weight"], ["logits"], domain="nobody.knows")
    broken = write(model.parent / "int8_static.onnx", [strange], np.zeros((16, 3), np.float32))
    files = [scheme_file("fp32", model), scheme_file("int8_static", broken)]
    found = examined([*files, scheme_file("int8_dynamic", model, "mostly noise")], model, splits)
    assert [c.id for c in found.candidates] == [f"{f}-onnxruntime" for f in ("fp32", "int8_static", "int8_dynamic")]
    assert set(found.rejected) == {"int8_static-onnxruntime", "int8_dynamic-onnxruntime"}
    reason = found.rejected["int8_static-onnxruntime"]
    assert reason.startswith("int8_static.onnx: ") and "nobody.knows:MatMul" in reason
    assert found.rejected["int8_dynamic-onnxruntime"] == "mostly noise"
    fp32, static, dynamic = found.candidates
    assert fp32.score is not None and fp32.host is not None
    assert static.score is None and static.size_kib == round(broken.stat().st_size / 1024, 1)
    assert dynamic.host is None and dynamic.latency_p50_ms is None


def test_fp32_is_the_reference_of_costs(model, splits, monkeypatch):
    half = Number(value=0.5, low=0.4, high=0.6, unit="x", word="measured", place="host")
    monkeypatch.setattr(benchmark_module, "compare", lambda *_, **__: half)
    found = examined([scheme_file("fp32", model), scheme_file("int8_static", model)], model, splits)
    fp32, static = (candidate.host_ratio_to_fp32 for candidate in found.candidates)
    assert (fp32.low, fp32.value, fp32.high) == (1, 1, 1) and static == half


def test_scores_and_recall_by_hand(model, splits, same_cost):
    found = examined([scheme_file("fp32", model)], model, splits)
    assert found.models["teacher"].score.value == pytest.approx(8 / 9)
    drop = found.candidates[0].drop  # the same file as the teacher: sample by sample there is no difference at all
    assert (drop.value, drop.low, drop.high, drop.unit, drop.n) == (0.0, 0.0, 0.0, "fraction", 9)
    assert found.models["teacher"].drop is None
    assert found.validation == {"fp32-onnxruntime": 1.0}
    recall = {index: shares["fp32-onnxruntime"] for index, shares in found.per_class.items()}
    assert recall == pytest.approx({"0": 3 / 4, "1": 1.0, "2": 1.0})


def test_numbers_are_scored_by_r2_against_labels_or_the_teachers_word(model, splits, same_cost):
    """The outputs are the columns' means, 1 and 0 after normalisation; labels that are 0.1 off cost as much as that."""
    for name in ("val", "test"):
        images = np.load(splits / f"{name}_inputs.npy").astype(np.float32) / 127.5 - 1
        means = images.mean(axis=(1, 3))[:, :3]  # the model looks at the first three of four columns
        np.save(splits / f"{name}_labels.npy", means + np.float32(0.1))
        np.save(model.parent / f"teacher_{name}_outputs.npy", means)
    means = means.astype(np.float64)
    by_hand = 1 - 0.01 / np.square(means - means.mean(axis=0)).mean()
    found = examined([scheme_file("fp32", model)], model, splits, task=REGRESSION)
    assert found.models["teacher"].score.value == pytest.approx(by_hand)
    assert found.models["teacher"].metrics["mae"] == pytest.approx(0.1) and found.per_class == {}
    for name in ("val", "test"):
        (splits / f"{name}_labels.npy").unlink()
    alone = examined([scheme_file("fp32", model)], model, splits, task=REGRESSION)
    assert alone.models["teacher"].score.value == pytest.approx(1)


def test_the_session_names_the_threads_that_the_figure_is_for(model, splits, same_cost):
    for profile, threads in ((PI, PI.latency.threads), (resolve("host").profile, 1)):
        (candidate,) = examined([scheme_file("fp32", model)], model, splits, profile).candidates
        assert candidate.session == {"threads": threads}


def test_head_to_head_runs_the_twin_of_each_in_its_runtime(model, monkeypatch):
    asked = []
    monkeypatch.setattr(benchmark_module, "compare", lambda *files, **others: asked.append((files, others)))
    static = Contender(id="a", scheme="int8_static", runtime="openvino", file="a.onnx", timed_as="a.twin.onnx")
    fp32 = Contender(id="b", scheme="fp32", runtime="onnxruntime", file="b.onnx")
    head_to_head(static, fp32, files=model.parent, inputs=Path("one.npy"), seconds=8.0)
    [(files, others)] = asked
    assert [path.name for path in files] == ["a.twin.onnx", "b.onnx"]
    assert (others["runtime_a"], others["runtime_b"]) == ("openvino", "onnxruntime")


@pytest.mark.parametrize(
    ("machine", "board", "marked"), [("x86_64", PI, True), ("aarch64", PI, False), ("x86_64", N100, False)]
)
def test_scores_of_signed_activations_say_where_they_were_taken(
    model, splits, same_cost, monkeypatch, machine, board, marked
):
    nodes = [
        helper.make_node("QuantizeLinear", ["flat", "scale", "zero"], ["quantized"]),
        helper.make_node("DequantizeLinear", ["quantized", "scale", "zero"], ["float"]),
        helper.make_node("MatMul", ["float", "weight"], ["logits"]),
    ]
    stored = onnx.load(write(model.parent / "int8_static.onnx", nodes, np.eye(16, 3, dtype=np.float32)))
    scale, zero = np.float32(0.01), np.int8(0)
    stored.graph.initializer.extend(
        [numpy_helper.from_array(np.asarray(scale), "scale"), numpy_helper.from_array(np.asarray(zero), "zero")]
    )
    onnx.save(stored, model.parent / "int8_static.onnx")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    files = [scheme_file("fp32", model), scheme_file("int8_static", model.parent / "int8_static.onnx")]
    fp32, static = examined(files, model, splits, board).candidates
    assert static.score is not None and fp32.scored_on is None
    assert static.scored_on == ("x86_64" if marked else None)


def test_fp32_that_does_not_run_ends_the_run(model, splits, same_cost):
    with pytest.raises(BadInput, match="mostly noise"):
        examined([scheme_file("fp32", model, "mostly noise")], model, splits)


def with_openvino(*flags: str):
    """A profile like the Pi 4's, of an x86 CPU with OpenVINO."""
    runtimes = {"onnxruntime": PI.runtimes["onnxruntime"], "openvino": PI.runtimes["onnxruntime"]}
    return PI.model_copy(update={"runtimes": runtimes, "isa": ("avx2", *flags)})


def test_a_scheme_competes_where_it_is_offered(monkeypatch):
    monkeypatch.setattr(benchmark_module.RUNTIMES["openvino"].__class__, "available", lambda self: True)
    files = tuple(scheme_file(scheme, Path("m")) for scheme in ("fp32", "bf16", "int8_dynamic"))
    contenders, notes = contend(files, with_openvino("avx512_bf16"), ("onnxruntime", "openvino"))
    assert [c.id for c in contenders] == [
        *("fp32-onnxruntime", "int8_dynamic-onnxruntime"),
        *("fp32-openvino", "bf16-openvino"),
    ]
    assert [c.session for c in contenders] == [{}, {}, {}, {"INFERENCE_PRECISION_HINT": "bf16"}]
    assert notes == ()


def test_a_precision_of_the_device_that_this_machine_lacks_is_said(monkeypatch):
    monkeypatch.setattr(benchmark_module.RUNTIMES["openvino"].__class__, "available", lambda self: True)
    monkeypatch.setattr(benchmark_module, "on_this_machine", lambda options: dict.fromkeys(options, "f32"))
    _, notes = contend((scheme_file("fp16", Path("m")),), with_openvino("fphp"), ("openvino",))
    assert notes == ("fp16-openvino computes in f16 on the device and in f32 here, where it was timed and scored",)


def test_a_scheme_that_no_runtime_of_the_device_takes_is_not_written(model, tmp_path):
    found = quantized(model, tmp_path, schemes=("fp32", "bf16"))
    assert found.skipped == {"bf16": "ONNX Runtime's CPU build widens bf16 to fp32: half the file, but no faster"}
    assert not (tmp_path / "bf16.onnx").exists()


def test_the_session_of_the_device_is_passed_on_and_kept(model, splits, same_cost, monkeypatch):
    pytest.importorskip("openvino")
    opened = []
    monkeypatch.setattr(benchmark_module, "on_this_machine", lambda options: opened.append(options) or {**options})
    profile = with_openvino("avx512_bf16")
    files = [scheme_file("fp32", model), scheme_file("bf16", model)]
    contenders, _ = contend(tuple(files), profile, ("onnxruntime", "openvino"))
    found = benchmark(
        models={"teacher": model},
        contenders=tuple(c for c in contenders if c.id in ("fp32-onnxruntime", "bf16-openvino")),
        files=model.parent,
        profile=profile,
        preprocessing=HOW,
        data=splits,
        task=CLASSIFICATION,
        loaded=model.parent,
        notes=(),
        seconds=0.02,
        listen=silent,
    )
    bf16 = next(c for c in found.candidates if c.scheme == "bf16")
    assert bf16.session == {"threads": PI.latency.threads, "INFERENCE_PRECISION_HINT": "bf16"}
    assert {"INFERENCE_PRECISION_HINT": "bf16"} in opened and bf16.host.session["PERFORMANCE_HINT"] == "LATENCY"


def test_a_runtime_that_the_device_has_not_is_said():
    without = PI.model_copy(update={"runtimes": {"onnxruntime": PI.runtimes["onnxruntime"]}})
    contenders, notes = contend((scheme_file("fp32", Path("m")),), without, ("onnxruntime", "openvino"))
    assert [c.id for c in contenders] == ["fp32-onnxruntime"]
    assert notes == ("openvino is not in the profile of raspberry-pi-4, so it did not compete",)
