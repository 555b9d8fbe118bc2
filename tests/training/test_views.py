import numpy as np
import pytest
import torch

from edgekd.data.split import Split
from edgekd.errors import UsageError
from edgekd.preprocessing import Preprocessing, normalise
from edgekd.tasks.detection import mirrored
from edgekd.training.plan import Plan
from edgekd.training.views import View, ViewReader, as_input, sample_order, view_input


def random_split(count: int, side: int = 8) -> Split:
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return Split(images, np.arange(count, dtype=np.int64))


def read(split: Split, steps: int, *, augment: str = "none", **settings: float) -> list[View]:
    reader = ViewReader(split, Plan(steps=steps, **settings), augment=augment)
    try:
        return [reader.at(step) for step in range(steps)]
    finally:
        reader.close()


def as_images(preprocessing_of: int = 3) -> Preprocessing:
    return Preprocessing(height=8, width=8, channels=preprocessing_of, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


def equal(first: View, second: View) -> bool:
    names = ("inputs", "labels", "partner_inputs", "partner_labels", "lam", "labelled")
    pairs = [(getattr(first, name), getattr(second, name)) for name in names]
    same = all(a is b is None or torch.equal(a, b) for a, b in pairs)
    return same and np.array_equal(first.keys, second.keys)


def test_every_epoch_has_another_order():
    first, second = (sample_order(97, seed=5, epoch=epoch) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(97))
    assert (first != second).any()
    assert np.array_equal(first, sample_order(97, seed=5, epoch=0))


def test_every_sample_comes_once_an_epoch_where_the_batch_does_not_divide_them():
    seen = torch.cat([view.labels for view in read(random_split(25), 5, batch_size=10)]).tolist()
    assert sorted(seen[:25]) == sorted(seen[25:]) == list(range(25))


def test_a_batch_of_more_than_all_samples_goes_round_again():
    seen = torch.cat([view.labels for view in read(random_split(7), 3, batch_size=20)]).tolist()
    assert len(seen) == 60
    for epoch in range(8):
        assert sorted(seen[7 * epoch : 7 * epoch + 7]) == list(range(7))


@pytest.mark.parametrize("augment", ["none", "flip", "crop", "crop+flip", "strong"])
@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_whoever_reads_a_step_gets_the_same_view_in_order_and_by_jump(augment, mixup):
    split, plan = random_split(25), Plan(steps=10, batch_size=10, seed=6, mixup=mixup)
    through, jump = (ViewReader(split, plan, augment=augment) for _ in range(2))
    try:
        views = [through.at(step) for step in range(5)]  # the third spans two epochs
        assert all(equal(jump.at(step), views[step]) for step in (4, 2, 0))
        assert not equal(views[0], views[1])
    finally:
        through.close()
        jump.close()


def test_inputs_and_labels_are_of_the_same_sample():
    split = random_split(25)
    for view in read(split, 5, batch_size=10, mixup=0.5):
        assert np.array_equal(view.inputs, split.inputs[view.labels])
        assert np.array_equal(view.partner_inputs, split.inputs[view.partner_labels])


@pytest.mark.parametrize("mixup", [0.0, 0.5])
def test_samples_after_the_last_label_are_marked_and_never_mixed_with_labelled_ones(mixup):
    whole = random_split(25)
    some = Split(whole.inputs, whole.labels[:10])
    for view in read(some, 5, batch_size=10, mixup=mixup):
        known = view.labelled.numpy()
        inputs = view.inputs.numpy()
        assert np.array_equal(inputs[known], whole.inputs[view.labels[view.labelled]])
        assert all((one == whole.inputs[10:]).all(axis=(1, 2, 3)).any() for one in inputs[~known])
        if mixup:
            partners = view.partner_inputs.numpy()
            assert np.array_equal(partners[known], whole.inputs[view.partner_labels[view.labelled]])
            assert all((one == whole.inputs[10:]).all(axis=(1, 2, 3)).any() for one in partners[~known])
    assert sum(int(view.labelled.sum()) for view in read(some, 5, batch_size=5, mixup=mixup)) == 10


@pytest.mark.parametrize(("augment", "mixup"), [("crop+flip", 0.0), ("strong", 0.0), ("none", 1.0), ("crop", 1.0)])
def test_equal_keys_are_equal_model_inputs(augment, mixup):
    by_key = {}
    for view in read(random_split(6), 90, batch_size=4, augment=augment, mixup=mixup):
        for key, one in zip(view.keys.tolist(), view_input(view, as_images()), strict=True):
            by_key.setdefault(key, set()).add(one.numpy().tobytes())
    assert all(len(contents) == 1 for contents in by_key.values())
    # Images of 8 pixels shift by one at most, so with flips each of the 6 has 18 views, which 360 draws repeat.
    assert len(by_key) <= 108 if (augment, mixup) == ("crop+flip", 0.0) else len(by_key) == 360
    assert len(set.union(*by_key.values())) > 0.9 * len(by_key)


def test_a_plain_view_keeps_its_key_in_every_epoch():
    first, second = (dict(zip(v.labels.tolist(), v.keys.tolist(), strict=True)) for v in read(random_split(9), 2))
    assert first == second and len(set(first.values())) == 9


@pytest.mark.parametrize("augment", ["crop+flip", "strong"])
def test_the_views_of_an_epoch_are_the_same_in_any_order_and_batch(augment):
    def keys(**settings: float) -> set[int]:
        views = read(random_split(24), 24 // int(settings["batch_size"]), augment=augment, mixup=0.8, **settings)
        return {key for view in views for key in view.keys.tolist()}

    base = keys(seed=1, view_seed=7, batch_size=8)
    assert keys(seed=2, view_seed=7, batch_size=6) == base
    assert not keys(seed=1, view_seed=8, batch_size=8) & base


def test_a_mixed_view_is_mixed_as_the_model_sees_it():
    how = as_images()
    view = read(random_split(6), 1, mixup=1.0)[0]
    first, second = (normalise(each.numpy(), how) for each in (view.inputs, view.partner_inputs))
    lam = view.lam.numpy()[:, None, None, None]
    np.testing.assert_allclose(view_input(view, how).numpy(), lam * first + (1 - lam) * second, atol=2e-6)


def test_a_partner_is_seen_as_it_is_seen_itself():
    view = read(random_split(8), 1, batch_size=8, augment="strong", mixup=1.0)[0]
    by_label = dict(zip(view.labels.tolist(), view.inputs, strict=True))
    own = torch.stack([by_label[label] for label in view.partner_labels.tolist()])
    assert torch.equal(view.partner_inputs, own)


def test_targets_of_a_regression_stay_numbers_and_token_ids_stay_integers():
    ids = np.arange(12).reshape(6, 2)
    split = Split(ids, np.linspace(0, 1, 6, dtype=np.float32)[:, None])
    view = read(split, 1, batch_size=6)[0]
    how = Preprocessing(height=1, width=1, channels=1, mean=(0.0,), std=(1.0,), identity=True)
    inputs = view_input(view, how)
    assert inputs.dtype == torch.int64 and view.labels.dtype == torch.float32
    np.testing.assert_allclose(view.labels[:, 0], inputs[:, 0] / 10)


def test_what_cannot_be_cropped_is_refused():
    with pytest.raises(UsageError, match="--augment strong is for images; these data are float32"):
        ViewReader(Split(np.zeros((4, 3, 8, 8), np.float32), None), Plan(steps=1), augment="strong")


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("scale", ["0..1", "0..255"])
def test_inputs_are_what_an_app_would_compute(order, scale):
    how = Preprocessing(
        height=5, width=7, channels=3, order=order, scale=scale, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)
    )
    images = np.random.default_rng(1).integers(0, 256, (4, 5, 7, 3), dtype=np.uint8)
    ours = as_input(torch.from_numpy(images), how, torch.channels_last)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(ours.numpy(), normalise(images, how), rtol=1e-6, atol=1e-5)


def test_model_inputs_pass_unchanged():
    how = Preprocessing(height=4, width=4, channels=2, mean=(0, 0), std=(1, 1), identity=True)
    inputs = torch.randn(3, 2, 4, 4)
    assert torch.equal(as_input(inputs, how), inputs)


def test_a_flipped_image_has_its_boxes_flipped_and_nothing_else_moves():
    images = np.zeros((40, 6, 10, 3), np.uint8)
    boxes = np.zeros((40, 2, 6), np.float32)
    for at, (image, rows) in enumerate(zip(images, boxes, strict=True)):
        x = at % 7
        image[1:4, x : x + 3] = 200
        rows[0] = [1, 0, x, 1, x + 3, 4]
    reader = ViewReader(Split(images, boxes), Plan(steps=1, batch_size=40), augment="flip", mirrored=mirrored)
    try:
        view = reader.at(0)
    finally:
        reader.close()
    assert view.labels is not None and not view.labels[:, 1].any()
    for image, (*_, x1, y1, x2, y2) in zip(view.inputs.numpy(), view.labels[:, 0].int().tolist(), strict=True):
        assert (image[y1:y2, x1:x2] == 200).all() and int((image > 0).sum()) == 27
    order = sample_order(40, seed=0, epoch=0)
    moved = (view.labels[:, 0, 2].numpy() != boxes[order, 0, 2]).mean()
    assert 0.2 < moved < 0.8


@pytest.mark.parametrize(("settings", "said"), [({"augment": "crop"}, "--augment crop"), ({"mixup": 0.2}, "--mixup")])
def test_views_that_would_leave_boxes_behind_are_refused(settings, said):
    split = Split(random_split(4).inputs, np.zeros((4, 1, 6), np.float32))
    with pytest.raises(UsageError, match=f"{said} would leave boxes"):
        ViewReader(
            split,
            Plan(steps=1, mixup=settings.get("mixup", 0)),
            augment=settings.get("augment", "none"),
            mirrored=mirrored,
        )
