"""Principal components against numpy's singular value decomposition of all rows at once."""

import numpy as np
import pytest
import torch

from edgekd.errors import BadInput, UsageError
from edgekd.fronts.pca import pca
from edgekd.fronts.place import Place


def rows(count: int = 300, features: int = 12, offset: float = 0.0) -> np.ndarray:
    """Correlated numbers of decreasing variance."""
    rng = np.random.default_rng(1)
    mixed = (
        rng.standard_normal((count, features)) * 2.0 ** -np.arange(features) @ rng.standard_normal((features, features))
    )
    return (mixed + offset).astype(np.float32)


def place(values: np.ndarray, batch: int = 64) -> Place:
    batches = [torch.from_numpy(values[at : at + batch]) for at in range(0, len(values), batch)]
    return Place(values.shape[1:], train=lambda: iter(batches))


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_components_are_those_of_the_decomposition(offset):
    values = rows(offset=offset)
    exact = values.astype(np.float64)
    centred = exact - exact.mean(0)
    vectors = np.linalg.svd(centred)[2][:5]
    vectors *= np.sign(vectors[np.arange(5), np.abs(vectors).argmax(1)])[:, None]
    front = pca(place(values), 5)
    assert np.allclose(front.components.numpy(), vectors, atol=1e-5)
    said = front(torch.from_numpy(values)).numpy()
    assert np.allclose(said, centred @ vectors.T, atol=1e-4 * max(1, offset / 10))
    assert not list(front.parameters()) and set(front.state_dict()) == {"components", "offset"}


def test_batches_make_no_difference():
    values = rows()
    few, all_at_once = pca(place(values, 7), 4), pca(place(values, 1000), 4)
    assert torch.allclose(few.components, all_at_once.components, atol=1e-6)
    assert torch.allclose(few.offset, all_at_once.offset, atol=1e-6)


def test_without_training_inputs_there_are_zeros_to_load_into():
    fitted, empty = pca(place(rows()), 4), pca(Place((12,)), 4)
    assert not empty.components.any()
    empty.load_state_dict(fitted.state_dict())
    assert torch.equal(empty.components, fitted.components)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(UsageError, match="rows of 13 to 4096 numbers, and the inputs are 12"):
        pca(place(rows()), 13)
    with pytest.raises(UsageError, match="3x8x8"):
        pca(Place((3, 8, 8)), 2)
    with pytest.raises(BadInput, match="all of them are the same"):
        pca(place(np.ones((50, 12), np.float32)), 2)
