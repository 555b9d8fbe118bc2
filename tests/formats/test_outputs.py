"""What models return, in all the shapes that people return it in."""

from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch

from edgekd.errors import BadInput
from edgekd.formats.outputs import outputs_of

ONE, TWO, THREE = torch.zeros(4, 1), torch.zeros(4, 2), torch.zeros(4, 3)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (ONE, [ONE]),
        ((ONE, TWO), [ONE, TWO]),
        ([TWO, ONE], [TWO, ONE]),
        ({"logits": TWO, "aux": ONE}, [TWO, ONE]),
        (OrderedDict(loss=None, logits=ONE, states=(TWO, [THREE, None])), [ONE, TWO, THREE]),
        ((None, ONE), [ONE]),
    ],
)
def test_tensors_come_in_the_order_they_are_returned_in(returned, expected) -> None:
    found = outputs_of(returned, 4)
    assert len(found) == len(expected) and all(a is b for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        (None, "the model returns no tensor"),
        ((), "the model returns no tensor"),
        ({"logits": None}, "the model returns no tensor"),
        ("logits", "returns str, not a tensor"),
        (SimpleNamespace(logits=ONE), "returns SimpleNamespace, not a tensor"),
        ((ONE, 3.5), "returns float, not a tensor"),
        (torch.tensor(0.5), r"output 0 has shape \(\) for 4 samples; its first dimension must be the batch"),
        ((ONE, torch.zeros(2, 4)), r"output 1 has shape \(2, 4\) for 4 samples"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(returned, sentence) -> None:
    with pytest.raises(BadInput, match=sentence):
        outputs_of(returned, 4)
