"""Writing ONNX graphs by code: a draft grows operator by operator, and knows the shape of each tensor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = tuple[int, ...]
_OPSET, _IR = 20, 9
_VALUES = np.random.default_rng(0).standard_normal(4099).astype(np.float32)


@dataclass
class Draft:
    """A float graph in the making, of one input "input". Methods return the name of the tensor they write."""

    shape: Shape
    shapes: dict[str, Shape] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    stored: list[onnx.TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shapes["input"] = self.shape

    def add(self, operator: str, inputs: Sequence[str], shape: Shape, **attributes: Any) -> str:
        """Append an operator that writes a tensor of `shape`."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=f"{operator}_{name}", **attributes))
        self.shapes[name] = shape
        return name

    def constant(self, values: Any, kind: Any = np.int64) -> str:
        """Store an array."""
        name = f"c{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def weight(self, *shape: int) -> str:
        """Store small made-up weights: what a kernel takes does not depend on them."""
        return self.constant(np.resize(_VALUES, shape) / max(math.prod(shape[1:]), 1) ** 0.5, np.float32)

    def convolution(self, x: str, outside: int, kernel: int, *, stride: int = 1, groups: int = 1) -> str:
        """A convolution with bias over (1, channels, height, width), padded to keep the size at stride 1 unless its
        kernel is its stride."""
        _, inside, height, width = self.shapes[x]
        pad = 0 if kernel == stride else kernel // 2
        height, width = ((side + 2 * pad - kernel) // stride + 1 for side in (height, width))
        weights = [self.weight(outside, inside // groups, kernel, kernel), self.weight(outside)]
        return self.add(
            *("Conv", [x, *weights], (1, outside, height, width)),
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pad] * 4,
            group=groups,
        )

    def linear(self, x: str, columns: int) -> str:
        """A product by stored weights over the last dimension, with bias, as the runtime and its quantizer have it."""
        *rows, inner = self.shapes[x]
        flat, stored = self.reshaped(x, math.prod(rows), inner), [self.weight(inner, columns), self.weight(columns)]
        return self.reshaped(self.add("Gemm", [flat, *stored], (math.prod(rows), columns)), *rows, columns)

    def product(self, x: str, columns: int) -> str:
        """A product by stored weights over the last dimension."""
        *rows, inner = self.shapes[x]
        return self.add("MatMul", [x, self.weight(inner, columns)], (*rows, columns))

    def activation(self, x: str, kind: str) -> str:
        """Relu, Relu6, HardSwish, Silu, Gelu, HardSigmoid, Sigmoid or Tanh, as exporters write them."""
        shape = self.shapes[x]
        if kind == "Relu6":
            return self.add("Clip", [x, self.constant(0, np.float32), self.constant(6, np.float32)], shape)
        if kind == "Silu":
            return self.add("Mul", [x, self.add("Sigmoid", [x], shape)], shape)
        return self.add(kind, [x], shape)

    def sum(self, x: str, y: str) -> str:
        """Elementwise sum of two tensors of one shape."""
        return self.add("Add", [x, y], self.shapes[x])

    def norm(self, x: str) -> str:
        """Layer normalisation over the last dimension."""
        width = self.shapes[x][-1]
        return self.add("LayerNormalization", [x, self.weight(width), self.weight(width)], self.shapes[x], axis=-1)

    def turned(self, x: str, *order: int) -> str:
        """A transpose."""
        return self.add("Transpose", [x], tuple(self.shapes[x][at] for at in order), perm=list(order))

    def reshaped(self, x: str, *shape: int) -> str:
        """The same elements in another shape."""
        return self.add("Reshape", [x, self.constant(shape)], shape)

    def mean(self, x: str) -> str:
        """Mean over height and width, kept as dimensions of one."""
        return self.add("ReduceMean", [x, self.constant([2, 3])], (*self.shapes[x][:2], 1, 1), keepdims=1)

    def model(self, *outputs: str) -> onnx.ModelProto:
        """The finished graph; the last tensor is its output unless others are named."""
        names = outputs or (self.nodes[-1].output[0],)
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shapes[name]) for name in names]
        given = helper.make_tensor_value_info("input", TensorProto.FLOAT, self.shape)
        graph = helper.make_graph(self.nodes, "draft", [given], made, self.stored)
        graph.value_info.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in self.shapes.items()
            if name not in (*names, "input")
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
