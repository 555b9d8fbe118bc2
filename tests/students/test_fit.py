"""The student that a latency budget leaves, by hand-made estimates."""

import pytest
import torch
from torch import nn

from edgekd.errors import BadInput
from edgekd.students.fit import SHARES, fit_to_latency
from edgekd.students.student import Student


def student(share: float) -> Student:
    return Student(nn.Identity(), "pruned", True, int(1000 * share), 1, 1000, {"share": share})


def milliseconds(found: Student) -> float:
    """10 ms for the whole teacher, and 1 ms that no pruning saves."""
    return 1 + 9 * found.macs / found.teacher_macs


@pytest.mark.parametrize(("limit", "share"), [(20.0, 0.75), (7.75, 0.75), (7.7, 0.5), (3.3, 0.25), (2.4, 0.15)])
def test_the_largest_that_fits(limit: float, share: float) -> None:
    found, said = fit_to_latency(student, milliseconds, limit)
    assert found.plan == {"share": share}
    assert f"{share:.0%} of the teacher's MACs" in said


def test_none_fits_and_it_is_said() -> None:
    found, said = fit_to_latency(student, milliseconds, 0.5)
    assert found.plan == {"share": SHARES[-1]}
    assert "no student fits the latency budget of 0.5 ms" in said
    assert "2.35 ms" in said


def test_a_teacher_that_cannot_be_pruned_further() -> None:
    def build(share: float) -> Student:
        if share < 0.5:
            raise BadInput("too narrow")
        return student(share)

    found, said = fit_to_latency(build, milliseconds, 2.0)
    assert found.plan == {"share": 0.5}
    assert "no student fits" in said

    def never(share: float) -> Student:
        raise BadInput("too narrow")

    with pytest.raises(BadInput, match="too narrow"):
        fit_to_latency(never, milliseconds, 2.0)


def test_shares_fall() -> None:
    assert list(SHARES) == sorted(SHARES, reverse=True)
    assert torch.tensor(SHARES).lt(1).all()
