import math

import numpy as np
import pytest
import torch

from edgekd.losses.logits import LOSSES, hard_labels, soft_targets, standardised_logits


def rows(seed: int, shape: tuple[int, int] = (6, 5)) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def reference_kl(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    def softmax(values: np.ndarray) -> np.ndarray:
        powers = np.exp(values / temperature)
        return powers / powers.sum(axis=1, keepdims=True)

    p, q = softmax(teacher), softmax(student)
    return float((p * np.log(p / q)).sum(axis=1).mean() * temperature**2)


def z(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_soft_targets_is_the_formula(temperature):
    student, teacher = rows(0), rows(1)
    expected = reference_kl(student.numpy(), teacher.numpy(), temperature)
    assert float(soft_targets(student, teacher, temperature=temperature)) == pytest.approx(expected, rel=1e-5)


def test_soft_targets_by_hand():
    # softmax(ln 3, 0) = (3/4, 1/4) against (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2)
    teacher, student = torch.tensor([[math.log(3), 0.0]]), torch.zeros(1, 2)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(soft_targets(student, teacher, temperature=1.0)) == pytest.approx(expected, rel=1e-6)


def test_standardised_logits_is_the_formula():
    student, teacher = rows(2), rows(3)
    expected = reference_kl(z(student.numpy()), z(teacher.numpy()), 2.0)
    assert float(standardised_logits(student, teacher)) == pytest.approx(expected, rel=1e-5)


def test_standardised_logits_does_not_see_scale_and_shift():
    student, teacher = rows(4), rows(5)
    moved = student * torch.rand(6, 1, dtype=torch.float64).add(0.5) * 7 + torch.randn(6, 1, dtype=torch.float64)
    assert float(standardised_logits(moved, teacher)) == pytest.approx(
        float(standardised_logits(student, teacher)), rel=1e-5
    )
    assert float(soft_targets(moved, teacher, temperature=2.0)) != pytest.approx(
        float(soft_targets(student, teacher, temperature=2.0)), rel=0.1
    )


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_is_zero_at_equality_and_positive_elsewhere(name):
    loss, logits = LOSSES[name], rows(6)
    assert float(loss(logits, logits.clone(), temperature=2.0)) == pytest.approx(0, abs=1e-6)
    assert float(loss(rows(7), logits, temperature=2.0)) > 0.01


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_gradient_is_the_slope(name):
    loss, teacher, student = LOSSES[name], rows(8), rows(9).requires_grad_()
    loss(student, teacher, temperature=2.0).backward()
    towards = torch.randn(student.shape, generator=torch.Generator().manual_seed(10), dtype=torch.float64)
    step = 0.05
    with torch.no_grad():
        ahead = float(loss(student + step * towards, teacher, temperature=2.0))
        behind = float(loss(student - step * towards, teacher, temperature=2.0))
    assert float((student.grad * towards).sum()) == pytest.approx((ahead - behind) / (2 * step), rel=1e-2)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_constant_rows_stay_finite_forward_and_back(name):
    student = torch.full((3, 4), 2.0, requires_grad=True)
    loss = LOSSES[name](student, rows(11, (3, 4)).float(), temperature=2.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()
    assert torch.isfinite(LOSSES[name](rows(12, (3, 4)), torch.zeros(3, 4), temperature=2.0))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_half_precision_logits_are_compared_in_float32(name):
    loss = LOSSES[name](rows(13).bfloat16(), rows(14).bfloat16(), temperature=2.0)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(
        float(LOSSES[name](rows(13).bfloat16().double(), rows(14).bfloat16().double(), temperature=2.0)), rel=1e-5
    )


def test_hard_labels_by_hand_with_and_without_smoothing():
    logits, labels = torch.tensor([[math.log(3), 0.0]]), torch.tensor([0])
    assert float(hard_labels(logits, labels)) == pytest.approx(-math.log(0.75), rel=1e-6)
    smoothed = -(0.9 * math.log(0.75) + 0.1 * math.log(0.25))
    assert float(hard_labels(logits, labels, label_smoothing=0.2)) == pytest.approx(smoothed, rel=1e-6)
