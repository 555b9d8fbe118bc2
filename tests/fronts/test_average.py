"""Fewer pixels and bands: means by hand, of whole cells and of cells that are cut."""

import numpy as np
import pytest
import torch

from edgekd.errors import UsageError
from edgekd.fronts.average import bands, means, resize
from edgekd.fronts.place import Place


def test_whole_cells_are_averaged():
    images = torch.randn(2, 3, 6, 8, dtype=torch.float32)
    smaller = resize(Place((3, 6, 8)), 3, 2)(images)
    assert torch.allclose(smaller, torch.nn.functional.avg_pool2d(images, (2, 4)), atol=1e-6)


def test_cells_that_are_cut_count_in_part():
    # Two new cells over three old ones, each 1.5 wide: all of the outer one and half of the middle one.
    assert np.allclose(means(3, 2).numpy(), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]])
    assert np.allclose(means(10, 7).sum(1), 1) and np.allclose(means(10, 7).sum(0), 0.7)


def test_bands_are_averaged_and_frames_are_not():
    frames = torch.arange(24.0).reshape(1, 4, 6)
    fewer = bands(Place((4, 6)), 2)(frames)
    assert fewer.tolist() == [[[3, 4, 5, 6, 7, 8], [15, 16, 17, 18, 19, 20]]]
    assert torch.equal(bands(Place((1, 4, 6)), 2)(frames[None]), fewer[None])


@pytest.mark.parametrize(
    ("front", "shape", "settings"),
    [
        (resize, (3, 6, 8), (7, 8)),
        (resize, (64,), (4, 4)),
        (bands, (4, 6), (5,)),
        (bands, (8000,), (20,)),
    ],
)
def test_inputs_that_cannot_become_smaller_are_refused(front, shape, settings):
    with pytest.raises(UsageError, match="x".join(map(str, shape))):
        front(Place(shape), *settings)
