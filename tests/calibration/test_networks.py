"""Networks drawn at random are sound, the same each time, and quantize."""

import onnx
import onnxruntime
import pytest
from onnx.shape_inference import infer_shapes

from edgekd.calibration.draft import Draft
from edgekd.calibration.networks import network
from edgekd.calibration.pairs import quantized
from edgekd.calibration.reference_graphs import REFERENCE_GRAPHS
from edgekd.device import Numerics
from edgekd.latency.graph import summarise

SIGNED = Numerics(activations="int8", per_channel=True, reduce_range=False)


@pytest.mark.parametrize("seed", range(15))
def test_a_network_is_sound_and_has_the_shapes_that_its_draft_says(seed):
    model = network(seed)
    onnx.checker.check_model(model, full_check=True)
    said = {one.name: [d.dim_value for d in one.type.tensor_type.shape.dim] for one in model.graph.value_info}
    del model.graph.value_info[:]
    found = infer_shapes(model, strict_mode=True, data_prop=True).graph.value_info
    inferred = {one.name: [d.dim_value for d in one.type.tensor_type.shape.dim] for one in found}
    assert said == inferred


def test_the_same_number_is_the_same_network():
    assert network(4).SerializeToString() == network(4).SerializeToString() != network(19).SerializeToString()


def test_operators_count_as_by_hand():
    draft = Draft((1, 8, 10, 10))
    x = draft.convolution("input", 16, 3, stride=2)
    x = draft.convolution(x, 16, 3, groups=16)
    model = draft.model(draft.linear(draft.reshaped(draft.mean(x), 1, 16), 5))
    summary = summarise(model)
    assert draft.shapes[x] == (1, 16, 5, 5)
    assert summary.macs == 25 * 16 * 8 * 9 + 25 * 16 * 9 + 16 * 5


@pytest.mark.parametrize("title", REFERENCE_GRAPHS)
def test_reference_graphs_load_and_are_in_the_precision_that_their_name_says(title):
    model = REFERENCE_GRAPHS[title]()
    onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    summary = summarise(model)
    assert summary.precision == ("int8" if title.endswith("int8") else "fp32")
    assert 2e7 < summary.macs < 2e8


def test_a_quantized_draft_has_pairs_around_its_convolutions():
    draft = Draft((1, 8, 10, 10))
    model = quantized(draft.model(draft.activation(draft.convolution("input", 8, 3), "Relu")), SIGNED)
    [node] = [one for one in summarise(model).nodes if one.operator == "conv_3x3"]
    assert node.precision == "int8"
