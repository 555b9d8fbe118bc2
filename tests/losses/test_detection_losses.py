"""The losses of boxes against float64 references written in plain loops, by hand, and by their properties."""

import math

import pytest
import torch

from edgekd.errors import BadInput, UsageError
from edgekd.losses.detection import assign, dense_boxes, detection, generalised_overlap, pairwise_overlap

CLASSES, POSITIONS = 3, 40


def boxes(seed: int, *shape: int, largest: float = 40.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(*shape, 2, generator=generator, dtype=torch.float64) * 60
    size = 5 + torch.rand(*shape, 2, generator=generator, dtype=torch.float64) * largest
    return torch.cat([corner, corner + size], -1)


def logits(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def truth(seed: int, batch: int, objects: int = 4, padding: int = 2) -> torch.Tensor:
    rows = torch.zeros(batch, objects + padding, CLASSES + 4, dtype=torch.float64)
    kinds = torch.randint(CLASSES, (batch, objects), generator=torch.Generator().manual_seed(seed))
    rows[:, :objects, :CLASSES] = torch.nn.functional.one_hot(kinds, CLASSES).double()
    rows[:, :objects, CLASSES:] = boxes(seed + 1, batch, objects)
    return rows


def near(rows: torch.Tensor, seed: int) -> torch.Tensor:
    """Outputs (batch, POSITIONS, classes + 4) whose boxes are objects' own, misplaced by a few pixels, or anywhere."""
    batch = len(rows)
    generator = torch.Generator().manual_seed(seed)
    picked = torch.randint(4, (batch, POSITIONS), generator=generator)
    own = torch.gather(rows[..., CLASSES:], 1, picked[..., None].expand(-1, -1, 4))
    moved = own + torch.randn(own.shape, generator=generator, dtype=torch.float64)
    anywhere = boxes(seed + 1, batch, POSITIONS)
    return torch.cat([logits(seed, batch, POSITIONS, CLASSES), torch.where(own[..., :1] > 20, moved, anywhere)], -1)


def iou(a: list[float], b: list[float]) -> tuple[float, float, float]:
    """Overlap, and the areas of union and of the box around both."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    around = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return shared / union, union, around


def giou(a: list[float], b: list[float]) -> float:
    overlap, union, around = iou(a, b)
    return overlap - (around - union) / around


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def expect_assignment(said: list, objects: list) -> dict[int, tuple[int, float, float]]:
    """Position to (object, target, weight), of one image's outputs and truth rows without padding."""
    claims: dict[int, tuple[float, int]] = {}
    alignments = {}
    for index, (*kind, x1, y1, x2, y2) in enumerate(objects):
        scores, distances = {}, {}
        for position, (*classes, a, b, c, d) in enumerate(said):
            centre = ((a + c) / 2, (b + d) / 2)
            overlap = iou([a, b, c, d], [x1, y1, x2, y2])[0]
            alignments[index, position] = (sigmoid(classes[kind.index(1)]) * overlap**6, overlap)
            if x1 < centre[0] < x2 and y1 < centre[1] < y2 and overlap > 0:
                scores[position] = alignments[index, position][0]
            distances[position] = math.dist(centre, ((x1 + x2) / 2, (y1 + y2) / 2))
        wanted = {
            *sorted(scores, key=lambda at: -scores[at])[:13],
            *sorted(distances, key=lambda at: distances[at])[:3],
        }
        for position in wanted:
            overlap = alignments[index, position][1]
            if position not in claims or overlap > claims[position][0]:
                claims[position] = (overlap, index)
    found = {}
    for index in range(len(objects)):
        own = [position for position, (_, owner) in claims.items() if owner == index]
        most = max((alignments[index, at][0] for at in own), default=0.0)
        largest = max((alignments[index, at][1] for at in own), default=0.0)
        shares = {at: alignments[index, at][0] / most if most else 1.0 for at in own}
        for at, share in shares.items():
            found[at] = (index, share * largest, share / max(1.0, sum(shares.values())))
    return found


def expect_detection(outputs: torch.Tensor, labels: torch.Tensor) -> float:
    classes = targets = distances = weights = 0.0
    for said, rows in zip(outputs.tolist(), labels.tolist(), strict=True):
        objects = [row for row in rows if any(row[:CLASSES])]
        assigned = expect_assignment(said, objects)
        for position, (*values, x1, y1, x2, y2) in enumerate(said):
            index, target, weight = assigned.get(position, (None, 0.0, 0.0))
            for kind, value in enumerate(values):
                p = sigmoid(value)
                wanted = target if index is not None and objects[index][kind] else 0.0
                if wanted > 0:
                    classes -= wanted * (wanted * math.log(p) + (1 - wanted) * math.log(1 - p))
                else:
                    classes -= 0.75 * p**2 * math.log(1 - p)
            if index is not None:
                distances += weight * (1 - giou([x1, y1, x2, y2], objects[index][CLASSES:]))
            targets += target
            weights += weight
    return classes / max(1.0, targets) + 2 * distances / max(1.0, weights)


def expect_dense_boxes(student: tuple, teacher: tuple, temperature: float) -> float:
    total = confidence = 0.0
    for parts in zip(*student, *teacher, strict=True):
        for s, box_s, t, box_t in zip(*(part.tolist() for part in parts), strict=True):
            sure = max(sigmoid(value) for value in t)
            for ours, theirs in zip(s, t, strict=True):
                p, q = sigmoid(ours / temperature), sigmoid(theirs / temperature)
                total += temperature**2 * (q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p)))
            total += sure * (1 - giou(box_s, box_t))
            confidence += sure
    return total / max(1.0, confidence)


def test_overlaps_by_hand() -> None:
    one = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    others = torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0], [20.0, 0.0, 30.0, 10.0]])
    assert pairwise_overlap(one[None], others[None])[0, 0].tolist() == pytest.approx([1, 1 / 3, 0])
    # The second two lie in a box of 150, of which 0 is in neither, and of 300, of which 100 is.
    assert generalised_overlap(one.expand(3, 4), others).tolist() == pytest.approx([1, 1 / 3, -1 / 3])


def test_generalised_overlap_is_its_formula() -> None:
    ours, theirs = boxes(0, 30), boxes(1, 30)
    expected = [giou(a, b) for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)]
    assert generalised_overlap(ours, theirs).tolist() == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(lambda values: generalised_overlap(values, theirs), ours.requires_grad_())


@pytest.mark.parametrize("seed", range(4))
def test_assignment_is_its_description(seed: int) -> None:
    rows = truth(seed, 2)
    outputs = near(rows, seed)
    found = assign(outputs[..., :CLASSES], outputs[..., CLASSES:], rows)
    for image in range(2):
        expected = expect_assignment(outputs[image].tolist(), rows[image, :4].tolist())
        assert {at for at in range(POSITIONS) if found.rows[image, at] >= 0} == expected.keys()
        for at, (index, target, weight) in expected.items():
            assert found.rows[image, at] == index
            assert float(found.targets[image, at]) == pytest.approx(target, rel=1e-9, abs=1e-12)
            assert float(found.weights[image, at]) == pytest.approx(weight, rel=1e-9, abs=1e-12)


def test_every_object_is_learned_however_bad_the_boxes() -> None:
    rows = truth(0, 1, objects=2)
    nowhere = boxes(3, 1, POSITIONS) + 500
    found = assign(logits(0, 1, POSITIONS, CLASSES), nowhere, rows)
    assert set(found.rows[0].tolist()) >= {-1} and (found.rows >= 0).any()
    assert not found.targets.any() and float(found.weights.sum()) == pytest.approx(1)  # one of two wins the ties
    outputs = torch.cat([logits(0, 1, POSITIONS, CLASSES), nowhere], -1).requires_grad_()
    detection(outputs, rows).backward()
    assert outputs.grad is not None and outputs.grad[..., CLASSES:].abs().sum() > 0


@pytest.mark.parametrize("seed", range(4))
def test_detection_is_its_formula(seed: int) -> None:
    rows = truth(seed, 3)
    outputs = near(rows, seed)
    assert float(detection(outputs, rows)) == pytest.approx(expect_detection(outputs, rows), rel=1e-9)
    assert float(detection(outputs.float(), rows.float())) == pytest.approx(expect_detection(outputs, rows), rel=1e-4)


def test_detection_has_the_gradient_of_its_formula_with_targets_and_weights_held() -> None:
    """Targets and the weight of background are constants: gradcheck holds where they do not move, as for boxes of
    positions that no object has; elsewhere a step down the gradient lowers the loss."""
    rows = truth(1, 1)
    outputs = near(rows, 1).requires_grad_()
    loss = detection(outputs, rows)
    loss.backward()
    assert outputs.grad is not None
    free = assign(outputs[..., :CLASSES].detach(), outputs[..., CLASSES:].detach(), rows).rows < 0
    assert not outputs.grad[free][:, CLASSES:].any()
    assert float(detection(outputs.detach() - 0.05 * outputs.grad, rows)) < loss.item()


def test_no_objects_leave_the_false_alarms() -> None:
    outputs, none = near(truth(2, 2), 2), torch.zeros(2, 5, CLASSES + 4, dtype=torch.float64)
    probability = outputs[..., :CLASSES].sigmoid()
    expected = -(0.75 * probability**2 * torch.log(1 - probability)).sum()
    assert float(detection(outputs, none)) == pytest.approx(float(expected), rel=1e-9)


def test_images_are_assigned_by_themselves() -> None:
    rows = truth(5, 70)
    outputs = near(rows, 5)
    whole = detection(outputs, rows)  # more images than are assigned at once
    assert float(whole) == pytest.approx(expect_detection(outputs, rows), rel=1e-9)


def test_a_detector_learns_a_scene_from_boxes_that_are_nowhere() -> None:
    rows = torch.zeros(1, 2, CLASSES + 4)
    rows[0, 0] = torch.tensor([0, 1, 0, 5.0, 5.0, 25.0, 30.0])
    rows[0, 1] = torch.tensor([1, 0, 0, 50.0, 40.0, 60.0, 50.0])
    centres = torch.cartesian_prod(torch.arange(4.0, 64, 8), torch.arange(4.0, 64, 8))
    raw = torch.zeros(1, 64, CLASSES + 4, requires_grad=True)

    def said() -> torch.Tensor:
        sides = 8 * torch.nn.functional.softplus(raw[..., CLASSES:] + 3)
        corners = [centres - sides[..., :2], centres + sides[..., 2:]]
        return torch.cat([raw[..., :CLASSES] - 3, *corners], -1)

    optimizer = torch.optim.Adam([raw], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        detection(said(), rows).backward()
        optimizer.step()
    best = said()[0].detach()
    for row in rows[0]:
        kind = int(row[:CLASSES].argmax())
        at = int(best[:, kind].argmax())
        assert float(best[at, kind].sigmoid()) > 0.8
        assert float(generalised_overlap(best[at, CLASSES:], row[CLASSES:])) > 0.9


def test_detection_refuses_what_does_not_fit() -> None:
    rows = truth(0, 2)
    with pytest.raises(BadInput, match=r"\(2, 40, 6\).*\(2, 6, 7\)"):
        detection(near(rows, 0)[..., 1:], rows)
    with pytest.raises(UsageError, match=r"label smoothing of 0\.1"):
        detection(near(rows, 0), rows, label_smoothing=0.1)


def pairs(seed: int) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    sides = [(logits(seed + at, 2, 9, CLASSES), boxes(seed + at, 2, 9)) for at in (0, 10)]
    return sides[0], sides[1]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_dense_boxes_is_its_formula(temperature: float) -> None:
    student, teacher = pairs(0)
    loss = dense_boxes(student, teacher, temperature=temperature)
    assert float(loss) == pytest.approx(expect_dense_boxes(student, teacher, temperature), rel=1e-9)
    inputs = [part.requires_grad_() for part in student]
    assert torch.autograd.gradcheck(lambda *values: dense_boxes(values, teacher, temperature=temperature), inputs)


def test_dense_boxes_is_zero_for_the_teachers_own_word_and_reaches_the_student_alone() -> None:
    student, teacher = pairs(1)
    assert float(dense_boxes(teacher, teacher)) == pytest.approx(0, abs=1e-12)
    both = [part.clone().requires_grad_() for part in (*student, *teacher)]
    dense_boxes(both[:2], both[2:]).backward()
    assert all(part.grad is not None for part in both[:2]) and all(part.grad is None for part in both[2:])


def test_dense_boxes_copies_boxes_where_the_teacher_is_sure() -> None:
    (_, box_s), (t, box_t) = pairs(2)
    unsure, sure = torch.full_like(t, -12), torch.full_like(t, 12)
    apart = float((1 - generalised_overlap(box_s, box_t)).mean())
    assert float(dense_boxes((sure, box_s), (sure, box_t))) == pytest.approx(apart, rel=1e-4)
    assert float(dense_boxes((unsure, box_s), (unsure, box_t))) == pytest.approx(0, abs=1e-3)


def test_dense_boxes_refuses_other_outputs() -> None:
    (s, box_s), _ = pairs(3)
    with pytest.raises(UsageError, match=r"dense_boxes.*take squared_error"):
        dense_boxes(s, s)
    with pytest.raises(UsageError, match="dense_boxes"):
        dense_boxes((s, box_s[:, :5]), (s, box_s[:, :5]))
