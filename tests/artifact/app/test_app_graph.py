"""The app graph as a whole: the model inside it, names, weights beside it, opsets and what a runtime makes of it."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgekd.artifact.app.graph import FILE, app_graph, write_app
from edgekd.artifact.contract import Contract
from edgekd.calibration.draft import Draft
from edgekd.calibration.pairs import quantized
from edgekd.device import Numerics, list_profiles
from edgekd.errors import BadInput
from edgekd.external_data import data_file, set_metadata, write_onnx
from edgekd.onnx_graph import STANDARD_DOMAINS, opset_of
from edgekd.preprocessing import Preprocessing, normalise

HOW = Preprocessing(height=32, width=32, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)


def classifier(opset: int = 20) -> ModelProto:
    """A small convolutional net of ten classes, with made-up weights."""
    draft = Draft((1, 3, 32, 32))
    x = draft.activation(draft.convolution("input", 16, 3, stride=2), "Relu")
    x = draft.activation(draft.sum(draft.activation(draft.convolution(x, 16, 3), "Relu"), x), "Relu")
    x = draft.reshaped(draft.add("GlobalAveragePool", [x], (1, 16, 1, 1)), 1, 16)
    model = draft.model(draft.linear(x, 10))
    model.opset_import[0].version = opset
    return model


@pytest.fixture
def contract(contract_for) -> Contract:
    return contract_for(HOW, "classification", {"logits": (10,)})


def executed(model: bytes, folder: Path) -> Counter[str]:
    """The operators that ONNX Runtime runs, after its fusions."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(options.optimized_model_filepath).graph
    return Counter(node.op_type for node in graph.node)


@pytest.mark.parametrize("opset", [13, 17, 18, 20])
def test_the_answer_is_the_models(load_app, opset, contract) -> None:
    model = classifier(opset)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    indices, shares = load_app(app_graph(model, contract, max_opset=opset))(image=image)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    [logits] = session.run(None, {"input": normalise(image[None], HOW)})
    powers = np.exp(logits[0] - logits.max())
    np.testing.assert_array_equal(indices, np.argsort(-logits[0])[:5])
    np.testing.assert_allclose(shares, (powers / powers.sum())[indices], rtol=1e-5)


def test_the_models_nodes_stay_as_they_are_and_the_rest_is_standard(contract) -> None:
    model = classifier()
    app = app_graph(model, contract, max_opset=20)
    names = {node.name for node in model.graph.node}
    assert [node for node in app.graph.node if node.name in names] == list(model.graph.node)
    assert {one.domain for one in app.opset_import} <= set(STANDARD_DOMAINS)
    assert {node.domain for node in app.graph.node} <= set(STANDARD_DOMAINS)
    assert (app.ir_version, opset_of(app)) == (model.ir_version, opset_of(model))
    assert [value.name for value in app.graph.input] == ["image"]
    assert [value.name for value in app.graph.output] == ["indices", "probabilities"]


@pytest.mark.parametrize("opset", [17, 20])
def test_the_same_integer_kernels_run(tmp_path: Path, contract, opset) -> None:
    model = quantized(classifier(opset), Numerics(activations="uint8", per_channel=True, reduce_range=False))
    alone = executed(model.SerializeToString(), tmp_path)
    whole = executed(app_graph(model, contract, max_opset=opset).SerializeToString(), tmp_path)
    integer = {kind: count for kind, count in alone.items() if kind.startswith("Q")}
    assert {"QLinearConv", "QLinearAdd", "QGemm", "QuantizeLinear"} <= integer.keys()
    assert {kind: whole[kind] for kind in integer} == integer
    # Logits are read twice, for the order and for the shares, and the runtime turns them into floats for each.
    assert whole["DequantizeLinear"] <= alone["DequantizeLinear"] + 1


def test_names_of_the_model_step_aside(load_app, contract_for) -> None:
    """A model that has values of the app's names, one of them inside a branch, and of the added nodes' beginning."""
    branches = [
        helper.make_graph(
            [helper.make_node(kind, ["boxes"], [f"indices_{kind}"])],
            kind,
            [],
            [helper.make_tensor_value_info(f"indices_{kind}", TensorProto.FLOAT, None)],
        )
        for kind in ("Abs", "Neg")
    ]
    stored = {"app_image": np.ones(3, np.float32), "image": np.array(False)}
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["input", "app_image"], ["boxes"]),
            helper.make_node("If", ["image"], ["scores"], then_branch=branches[0], else_branch=branches[1]),
            helper.make_node("Identity", ["scores"], ["output"]),
        ],
        "clashing",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 3))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, (1, 3))],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    how = Preprocessing(identity=True, input_shape=(3,))
    app = app_graph(model, contract_for(how, "generic", {"output": (3,)}), max_opset=13)
    np.testing.assert_array_equal(load_app(app)(input=np.arange(3, dtype=np.float32))[0], [-1, -2, -3])


def test_an_old_opset_is_raised_to_the_oldest_that_will_do(contract) -> None:
    model = classifier(11)
    assert opset_of(app_graph(model, contract, max_opset=15)) == 13
    with pytest.raises(BadInput, match=r"opset 11, and app\.onnx needs 13, where the device's runtime loads 12"):
        app_graph(model, contract, max_opset=12)


@pytest.mark.parametrize(
    ("opset", "max_opset", "operator", "becomes"),
    [
        (17, 20, "Relu", 18),
        (17, 17, "Relu", 17),  # the device loads no more
        (16, 18, "Relu", 18),
        (13, 20, "Relu", 18),  # it takes more types since 14
        (13, 20, "HardSigmoid", 18),
        (17, 20, "ReduceMean", 17),  # in 18 its axes are an input
        (20, 20, "Relu", 20),
    ],
)
def test_the_opset_rises_to_that_of_resize_where_nothing_changes(
    load_app, contract_for, opset, max_opset, operator, becomes
) -> None:
    graph = helper.make_graph(
        [helper.make_node(operator, ["input"], ["between"]), helper.make_node("Flatten", ["between"], ["output"])],
        "two",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 3, 32, 32))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, (1, None))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    size = 1 if operator == "ReduceMean" else 3072
    app = app_graph(model, contract_for(HOW, "generic", {"output": (size,)}), max_opset=max_opset)
    assert opset_of(app) == becomes
    assert opset_of(model) == opset
    assert ("Resize" in str(app.graph)) == (becomes >= 18)
    assert load_app(app)(image=np.zeros((5, 9, 3), np.uint8))[0].shape == (size,)


def test_weights_in_a_file_of_their_own_are_shared(tmp_path: Path, contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgekd.external_data.ONE_FILE", 1000)
    monkeypatch.setattr("edgekd.external_data.PAGE", 512)
    model = classifier()
    write_onnx(tmp_path / "model.onnx", model)
    set_metadata(tmp_path / "model.onnx", "edgekd", "the contract")
    size = data_file(tmp_path / "model.onnx").stat().st_size
    app = write_app(tmp_path / "model.onnx", contract, max_opset=20)
    assert sorted(one.name for one in tmp_path.iterdir()) == [FILE, "model.onnx", "model.onnx.data"]
    assert app.stat().st_size < size
    assert {one.key: one.value for one in onnx.load(app).metadata_props}["edgekd"] == "the contract"
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    whole = onnxruntime.InferenceSession(app).run(None, {"image": image})
    inside = app_graph(model, contract, max_opset=20).SerializeToString()
    for one, other in zip(whole, onnxruntime.InferenceSession(inside).run(None, {"image": image}), strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_device_loads_what_is_added(contract) -> None:
    """The newest operator is asked of the model's own opset, never of a newer one."""
    runtimes = [profile.runtimes["onnxruntime"] for profile in list_profiles() if "onnxruntime" in profile.runtimes]
    for runtime in runtimes:
        model = classifier(min(20, runtime.max_opset))
        app = app_graph(model, contract, max_opset=runtime.max_opset)
        onnx.checker.check_model(app, full_check=True)
        assert opset_of(app) <= runtime.max_opset
        assert app.ir_version <= runtime.max_ir
