"""The five graphs that a board is calibrated by: built by code, with made-up weights, and none a published network."""

from collections.abc import Callable

import onnx

from edgekd.calibration.draft import Draft
from edgekd.calibration.pairs import quantized
from edgekd.device import Numerics

_ARM = Numerics(activations="int8", per_channel=True, reduce_range=False)


def _dense() -> onnx.ModelProto:
    """Dense 3 x 3 convolutions with sums between them, as ResNet has."""
    draft = Draft((1, 3, 96, 96))
    x = draft.activation(draft.convolution("input", 32, 3, stride=2), "Relu")
    for width, stride in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        x = draft.activation(draft.convolution(x, width, 3, stride=stride), "Relu")
        x = draft.activation(draft.sum(draft.convolution(x, width, 3), x), "Relu")
    return draft.model(draft.reshaped(draft.mean(x), 1, 128))


def _separable() -> onnx.ModelProto:
    """Depthwise and pointwise convolutions in turn, as MobileNet has."""
    draft = Draft((1, 3, 128, 128))
    x = draft.activation(draft.convolution("input", 32, 3, stride=2), "Relu")
    for width, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        inside = draft.shapes[x][1]
        x = draft.activation(draft.convolution(x, inside, 3, stride=stride, groups=inside), "Relu")
        x = draft.activation(draft.convolution(x, width, 1), "Relu")
    return draft.model(draft.reshaped(draft.mean(x), 1, 512))


def _encoder() -> onnx.ModelProto:
    """Products, attention and norms over 64 tokens, as BERT has."""
    draft, x = Draft((1, 64, 192)), "input"
    for _ in range(3):
        parts = [draft.reshaped(draft.linear(x, 192), 1, 64, 3, 64) for _ in range(3)]
        query, value = (draft.turned(one, 0, 2, 1, 3) for one in parts[:2])
        scores = draft.add("MatMul", [query, draft.turned(parts[2], 0, 2, 3, 1)], (1, 3, 64, 64))
        mixed = draft.add("MatMul", [draft.add("Softmax", [scores], (1, 3, 64, 64)), value], (1, 3, 64, 64))
        joined = draft.reshaped(draft.turned(mixed, 0, 2, 1, 3), 1, 64, 192)
        x = draft.norm(draft.sum(draft.linear(joined, 192), x))
        x = draft.norm(draft.sum(draft.linear(draft.activation(draft.linear(x, 768), "Gelu"), 192), x))
    return draft.model(x)


REFERENCE_GRAPHS: dict[str, Callable[[], onnx.ModelProto]] = {
    "dense": _dense,
    "separable": _separable,
    "encoder": _encoder,
    "dense_int8": lambda: quantized(_dense(), _ARM),
    "separable_int8": lambda: quantized(_separable(), _ARM),
}
