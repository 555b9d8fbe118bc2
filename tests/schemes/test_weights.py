"""Weights in two bytes and in one: rounding by hand, tied tables, what stays float, and what runtimes make of it."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.device import Numerics
from edgekd.parity import sqnr_db
from edgekd.runtimes import predict_batches
from edgekd.schemes.scheme import SchemeResult
from edgekd.schemes.table import SCHEMES

X86 = Numerics(activations="uint8", per_channel=True, reduce_range=False)
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(300, 16)).astype(np.float32)
TOKENS = RNG.integers(0, 300, (8, 6))


def write(path: Path, nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], *, opset: int = 17) -> Path:
    """A graph from token ids (1, 6) to "logits"."""
    graph = helper.make_graph(
        nodes,
        "words",
        [helper.make_tensor_value_info("input", TensorProto.INT64, [1, 6])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


@pytest.fixture
def tied(tmp_path: Path) -> Path:
    """A table that is the embedding and, transposed, the head."""
    nodes = [
        helper.make_node("Gather", ["table", "input"], ["rows"]),
        helper.make_node("Tanh", ["rows"], ["hidden"]),
        helper.make_node("Transpose", ["table"], ["head"], perm=[1, 0]),
        helper.make_node("MatMul", ["hidden", "head"], ["logits"]),
    ]
    return write(tmp_path / "tied.onnx", nodes, {"table": TABLE})


def apply(scheme: str, model: Path) -> tuple[SchemeResult, Path]:
    out = model.with_name(f"{scheme}.onnx")
    return SCHEMES[scheme](model, out, calibration=None, numerics=X86), out


def constants(path: Path) -> dict[str, onnx.TensorProto]:
    return {one.name: one for one in onnx.load(path).graph.initializer}


def test_int8_is_the_nearest_of_255_even_steps_of_each_row(tied: Path) -> None:
    _, out = apply("int8_weights", tied)
    kept = {name: numpy_helper.to_array(one) for name, one in constants(out).items()}
    scale = np.abs(TABLE).max(axis=1) / 127
    assert np.array_equal(kept["table_scale"], scale.astype(np.float32))
    error = np.abs(kept["table_int8"] * scale[:, None] - TABLE)
    assert kept["table_int8"].min() >= -127 and (error <= 0.501 * scale[:, None]).all()


@pytest.mark.parametrize(
    ("scheme", "share", "signal"), [("int8_weights", 0.35, 30), ("bf16", 0.55, 45), ("fp16", 0.55, 60)]
)
def test_a_tied_table_is_stored_once_and_the_signal_stays(tied: Path, scheme: str, share: float, signal: float) -> None:
    result, out = apply(scheme, tied)
    assert result.file == out.name and (result.opset, result.ir_version) == (17, 8)
    assert sum(one.dims[:] == [300, 16] for one in constants(out).values()) == 1
    assert out.stat().st_size < share * tied.stat().st_size
    assert sqnr_db(predict_batches(tied, [TOKENS]), predict_batches(out, [TOKENS])) > signal


def test_an_embedding_is_widened_after_the_look_up(tmp_path: Path) -> None:
    """Or the runtime would widen the whole table at every run; only what the head reads of a tied table is."""
    nodes = [helper.make_node("Gather", ["table", "input"], ["logits"])]
    model = write(tmp_path / "lookup.onnx", nodes, {"table": TABLE})
    _, out = apply("int8_weights", model)
    assert not any(node.op_type == "DequantizeLinear" for node in onnx.load(out).graph.node)
    scale = np.abs(TABLE).max(axis=1, keepdims=True) / 127
    by_hand = (np.rint(TABLE / scale) * scale)[TOKENS]
    assert predict_batches(out, [TOKENS]) == pytest.approx(by_hand, abs=1e-6)


def test_each_output_of_a_product_has_a_scale(tmp_path: Path) -> None:
    """Columns of a MatMul and of a plain Gemm, rows of a transposed one."""
    nodes = [
        helper.make_node("Gather", ["table", "input"], ["rows"]),
        helper.make_node("ReduceMean", ["rows"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "a"], ["x"]),
        helper.make_node("Gemm", ["x", "b"], ["y"]),
        helper.make_node("Gemm", ["y", "c"], ["logits"], transB=1),
    ]
    shapes = {"a": (16, 20), "b": (20, 24), "c": (28, 24)}
    weights = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights["a"][:, 3] *= 100  # one scale for all would leave 30 dB less to the others
    weights["b"][:, 5] *= 100
    weights["c"][7] *= 100
    model = write(tmp_path / "products.onnx", nodes, {"table": TABLE, **weights})
    _, out = apply("int8_weights", model)
    kept = constants(out)
    assert [list(kept[f"{name}_scale"].dims) for name in "abc"] == [[20], [24], [28]]
    assert sqnr_db(predict_batches(model, [TOKENS]), predict_batches(out, [TOKENS])) > 30


def test_a_value_that_fp16_cannot_hold_stays_and_is_told(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["table", "input"], ["rows"]),
        helper.make_node("MatMul", ["rows", "large"], ["logits"]),
    ]
    large = np.full((16, 16), 7e4, np.float32)
    model = write(tmp_path / "large.onnx", nodes, {"table": TABLE, "large": large})
    result, out = apply("fp16", model)
    assert result.notes == ("1 tensors stay in fp32: fp16 holds nothing over 65504",)
    assert constants(out)["large"].data_type == TensorProto.FLOAT
    assert sqnr_db(predict_batches(model, [TOKENS]), predict_batches(out, [TOKENS])) > 60
    assert apply("bf16", model)[0].notes == ()


def test_constants_that_are_no_weights_stay_as_they_are(tmp_path: Path) -> None:
    """A mask of the lowest float would become minus infinity in two bytes."""
    lowest = np.full((6, 16), np.finfo(np.float32).min, np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input"], ["rows"]),
        helper.make_node("Max", ["rows", "mask"], ["logits"]),
    ]
    model = write(tmp_path / "masked.onnx", nodes, {"table": TABLE, "mask": lowest})
    for scheme in ("bf16", "fp16", "int8_weights"):
        assert constants(apply(scheme, model)[1])["mask"].data_type == TensorProto.FLOAT


def test_where_convolutions_hold_the_parameters_int8_weights_are_skipped(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "kernel"], ["seen"]),
            helper.make_node("GlobalAveragePool", ["seen"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "head"], ["logits"]),
        ],
        "seen",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 9])],
        [
            numpy_helper.from_array(np.ones((27, 3, 3, 3), np.float32), "kernel"),  # 729 of 972
            numpy_helper.from_array(np.ones((27, 9), np.float32), "head"),
        ],
    )
    path = tmp_path / "conv.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    result, out = apply("int8_weights", path)
    assert result.skipped == "matrices and embeddings hold only 25 % of the parameters" and not out.exists()
    assert constants(apply("bf16", path)[1])["kernel_bf16"].data_type == TensorProto.BFLOAT16


def test_old_and_quantized_graphs_are_skipped_with_the_reason(tied: Path, tmp_path: Path) -> None:
    nodes = [helper.make_node("Gather", ["table", "input"], ["logits"])]
    old = write(tmp_path / "old.onnx", nodes, {"table": TABLE}, opset=12)
    assert apply("int8_weights", old)[0].skipped == "it needs opset 13, the graph has 12"
    _, once = apply("int8_weights", tied)
    assert str(apply("bf16", once)[0].skipped).startswith("the graph is quantized already")


@pytest.mark.parametrize("scheme", ["bf16", "fp16", "int8_weights"])
def test_two_runs_give_the_same_bytes(tied: Path, scheme: str) -> None:
    first = apply(scheme, tied)[1].read_bytes()
    assert apply(scheme, tied)[1].read_bytes() == first


def test_openvino_widens_the_weights_too(tied: Path) -> None:
    pytest.importorskip("openvino")
    for scheme in ("bf16", "fp16", "int8_weights"):
        _, out = apply(scheme, tied)
        ours, theirs = (predict_batches(out, [TOKENS], runtime=name) for name in ("onnxruntime", "openvino"))
        assert sqnr_db(ours, theirs) > 30
