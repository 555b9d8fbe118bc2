"""Fake quantization by hand: codes, values, and what the gradient lets through."""

import numpy as np
import pytest
import torch

from edgekd.quantization_aware.node import Node
from edgekd.quantization_aware.rounding import codes, dequantize_linear

UINT8, INT8 = torch.tensor(10, dtype=torch.uint8), torch.tensor(0, dtype=torch.int8)


def fake(values: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor, axis: int = 1) -> torch.Tensor:
    node = Node("DequantizeLinear", "", (), (), {"axis": axis}, 17)
    return dequantize_linear(node, codes(values, scale, zero, axis), scale, zero)


def test_codes_by_hand() -> None:
    values = torch.tensor([0.0, 0.24, 0.25, 0.75, -4.9, -7.0, 200.0])
    expected = torch.tensor([10.0, 10.0, 10.0, 12.0, 0.0, 0.0, 255.0])  # halves go to the even code
    assert torch.equal(codes(values, torch.tensor(0.5), UINT8), expected)
    assert torch.equal(fake(values, torch.tensor(0.5), UINT8), (expected - 10) * 0.5)


def test_the_gradient_passes_rounding_and_stops_outside_the_range() -> None:
    values = torch.tensor([0.3, 122.0, -5.2, -4.9], requires_grad=True)  # the range is -5 to 122.5
    fake(values, torch.tensor(0.5), UINT8).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [1.0, 1.0, 1.0, 1.0]
    far = torch.tensor([-6.0, 123.0], requires_grad=True)
    fake(far, torch.tensor(0.5), UINT8).sum().backward()
    assert far.grad is not None
    assert far.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("value", "gradient"), [(0.3, 1 - 0.6), (0.6, 1 - 1.2), (1000.0, 127.0), (-1000.0, -128.0)])
def test_the_gradient_of_the_scale_is_that_of_learned_step_sizes(value: float, gradient: float) -> None:
    """Equation 3 of Esser et al. 2020: round(x/s) - x/s inside, the end of the range outside."""
    scale = torch.tensor(0.5, requires_grad=True)
    fake(torch.tensor([value]), scale, INT8).sum().backward()
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(gradient, abs=1e-6)


def test_a_scale_per_channel_lies_along_its_axis() -> None:
    values = torch.tensor([[1.0, 1.0], [3.0, 3.0]])
    scale, zero = torch.tensor([1.0, 2.0]), torch.zeros(2, dtype=torch.int8)
    assert codes(values, scale, zero, 0).tolist() == [[1.0, 1.0], [2.0, 2.0]]
    assert codes(values, scale, zero, 1).tolist() == [[1.0, 0.0], [3.0, 2.0]]


def test_codes_are_those_of_the_runtime() -> None:
    """numpy's own rint and clip, as the ONNX text defines QuantizeLinear."""
    values = np.random.default_rng(0).normal(0, 40, 1000).astype(np.float32)
    expected = np.clip(np.rint(values / np.float32(0.3)) + 10, 0, 255)
    assert np.array_equal(codes(torch.from_numpy(values), torch.tensor(0.3), UINT8).numpy(), expected)
