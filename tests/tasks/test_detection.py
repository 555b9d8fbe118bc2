"""Average precision against COCO's own code and by hand; the score that an interval can be had of; what is refused."""

import io
from contextlib import redirect_stdout

import numpy as np
import pytest

from edgekd.errors import BadInput
from edgekd.tasks.boxes import detect, hits, overlap
from edgekd.tasks.detection import DETECTION, THRESHOLDS, average_precision, check_outputs, mirrored, truth_of
from edgekd.tasks.intervals import paired_difference, score_number
from edgekd.tasks.task import score_of

SURE = 4.0
CLASSES = 3


def row(kind: int, box: tuple[float, ...], confidence: float | None = None) -> np.ndarray:
    """A truth row, or with a confidence what a detector says at a position."""
    classes = np.zeros(CLASSES) if confidence is None else np.full(CLASSES, -20.0)
    classes[kind] = 1 if confidence is None else np.log(confidence / (1 - confidence))
    return np.concatenate([classes, box]).astype(np.float32)


def padded(rows: list[np.ndarray], count: int) -> np.ndarray:
    found = np.zeros((count, CLASSES + 4), np.float32)
    found[: len(rows)] = np.array(rows).reshape(-1, CLASSES + 4)
    return found


def realistic(seed: int, images: int = 40, noise: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Objects, and what a fair detector says: doubles, misplaced boxes, false alarms, missed and mistaken objects."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((images, 12, CLASSES + 4), np.float32)
    outputs = np.full((images, 80, CLASSES + 4), -9.0, np.float32)
    outputs[..., CLASSES:] = [0, 0, 1, 1]
    for image in range(images):
        count, at = int(rng.integers(1, 13)), 0
        corner, size = rng.uniform(0, 150, (count, 2)), rng.uniform(12, 50, (count, 2))
        kinds = rng.choice(CLASSES, count, p=[0.6, 0.3, 0.1])
        truth[image, np.arange(count), kinds] = 1
        truth[image, :count, CLASSES:] = np.hstack([corner, corner + size])
        for one in range(count):
            for _ in range(int(rng.integers(0, 5))):
                off = np.clip(rng.normal(0, noise, 4), -5, 5)  # COCO leaves inverted boxes out
                kind = kinds[one] if rng.random() < 0.9 else int(rng.integers(CLASSES))
                outputs[image, at, kind] = 2 - np.abs(off).mean() + rng.normal(0, 1)
                outputs[image, at, CLASSES:] = truth[image, one, CLASSES:] + off
                at += 1
        for _ in range(int(rng.integers(0, 15))):
            corner, size = rng.uniform(0, 150, 2), rng.uniform(12, 50, 2)
            outputs[image, at, int(rng.integers(CLASSES))] = rng.normal(-1.5, 1)
            outputs[image, at, CLASSES:] = np.hstack([corner, corner + size])
            at += 1
    return outputs, truth


def coco_figures(outputs: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The same by pycocotools, which is given the same answers."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    annotations, found = [], []
    for image, (said, rows) in enumerate(zip(outputs, truth, strict=True)):
        for kind, (x1, y1, x2, y2) in ((r[:CLASSES].argmax(), r[CLASSES:]) for r in rows if r[:CLASSES].any()):
            box = [float(v) for v in (x1, y1, x2 - x1, y2 - y1)]
            entry = {"image_id": image, "category_id": int(kind), "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, **entry})
        answers = detect(said)
        for kind, score, (x1, y1, x2, y2) in zip(answers.classes, answers.confidences, answers.boxes, strict=True):
            entry = {"image_id": image, "category_id": int(kind), "score": float(score)}
            found.append({**entry, "bbox": [float(v) for v in (x1, y1, x2 - x1, y2 - y1)]})
    with redirect_stdout(io.StringIO()):
        dataset = coco.COCO()
        dataset.dataset = {
            "images": [{"id": at} for at in range(len(truth))],
            "annotations": annotations,
            "categories": [{"id": at} for at in range(CLASSES)],
            "info": {},
        }
        dataset.createIndex()
        run = cocoeval.COCOeval(dataset, dataset.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return dict(zip(("map", "map50", "map75"), run.stats[:3], strict=True)) | {"recall": run.stats[8]}


@pytest.mark.parametrize(("seed", "noise"), [(0, 2.0), (1, 1.0), (2, 4.0), (3, 0.3)])
def test_metrics_are_cocos(seed: int, noise: float) -> None:
    outputs, truth = realistic(seed, noise=noise)
    expected = coco_figures(outputs, truth)
    assert expected["map50"] > 0.15
    assert DETECTION.metrics(outputs, truth) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("noise", [0.3, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("shift", [-2.0, 0.0, 3.0])
def test_the_score_is_map50_within_a_hundredth(noise: float, shift: float) -> None:
    for seed in range(3):
        outputs, truth = realistic(10 + seed, noise=noise)
        outputs[..., :CLASSES] += shift
        assert score_of(DETECTION, outputs, truth) == pytest.approx(
            DETECTION.metrics(outputs, truth)["map50"], abs=0.01
        )


def test_average_precision_by_hand() -> None:
    """Two objects; right at 0.9, wrong at 0.8, right at 0.7: precision 1 up to a recall of a half, then 2/3."""
    objects = [row(0, (0, 0, 10, 10)), row(0, (50, 50, 60, 60))]
    said = [row(0, (0, 0, 10, 10), 0.9), row(0, (80, 80, 90, 90), 0.8), row(0, (50, 50, 60, 60), 0.7)]
    outputs, truth = np.array([said]), np.array([padded(objects, 4)])
    precision = average_precision(outputs, truth)
    assert precision[0] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    assert np.isnan(precision[1:]).all()
    assert score_of(DETECTION, outputs, truth) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    outputs[0, 1, 0] = outputs[0, 2, 0]  # equally sure: from a precision of 1 down to 2/3 within one bin
    assert score_of(DETECTION, outputs, truth) == pytest.approx(0.5 * 1 + 0.5 * (1 + 2 / 3) / 2)


def test_overlap_by_hand_and_of_boxes_that_are_none() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [3, 3, 3, 9], [9, 9, 2, 2], [np.nan, 0, 5, 5]], float)
    assert overlap(boxes[:1], boxes)[0] == pytest.approx([1, 50 / 150, 0, 0, 0])
    assert (overlap(boxes[2:], boxes[2:]) == 0).all()


def test_doubles_go_and_other_classes_stay() -> None:
    box, near = (0, 0, 10, 10), (1, 0, 11, 10)  # overlap 90 / 110
    found = detect(np.array([row(0, near, 0.6), row(0, box, 0.8), row(1, near, 0.7), row(0, (30, 30, 40, 40), 0.5)]))
    assert found.classes.tolist() == [0, 1, 0]
    assert found.confidences == pytest.approx([0.8, 0.7, 0.5], abs=1e-6)
    assert found.boxes[0].tolist() == list(box)


def test_an_object_is_hit_once_and_by_the_most_confident() -> None:
    objects = np.array([row(0, (0, 0, 10, 10)), row(1, (0, 0, 10, 10))])
    answers = detect(np.array([row(0, (0, 0, 10, 5.5), 0.9), row(0, (0, 0, 10, 10), 0.8), row(2, (0, 0, 9, 10), 0.7)]))
    # At an overlap of 0.5 the first takes the object; it falls short of 0.6, where the second does.
    assert hits(answers, objects, np.array([0.5, 0.6])).tolist() == [[True, False, False], [False, True, False]]


def test_nothing_found_nothing_there_and_no_numbers() -> None:
    outputs, truth = realistic(0)
    silent = outputs.copy()
    silent[..., :CLASSES] = -30
    broken = np.full_like(outputs, np.nan)
    assert score_of(DETECTION, silent, truth) == 0 == score_of(DETECTION, broken, truth)
    assert set(DETECTION.metrics(silent, truth).values()) == {0.0}
    assert score_of(DETECTION, outputs, np.zeros_like(truth)) == 0
    assert set(DETECTION.metrics(outputs, np.zeros_like(truth)).values()) == {0.0}
    assert "as good as nothing" in str(DETECTION.near_chance(0.0, truth, CLASSES))
    assert DETECTION.near_chance(0.2, truth, CLASSES) is None


def test_perfect_answers_score_one_and_order_does_not_matter() -> None:
    _, truth = realistic(4)
    perfect = truth.copy()
    perfect[..., :CLASSES] = np.where(truth[..., :CLASSES] > 0, SURE, -20)
    assert score_of(DETECTION, perfect, truth) == pytest.approx(1)
    assert DETECTION.metrics(perfect, truth)["map"] == pytest.approx(1, abs=0.02)  # objects close together are doubles
    outputs, truth = realistic(5)
    order = np.random.default_rng(0).permutation(len(truth))
    assert score_of(DETECTION, outputs[order], truth[order]) == pytest.approx(score_of(DETECTION, outputs, truth))


def test_intervals_come_from_images() -> None:
    outputs, truth = realistic(6)
    worse = outputs.copy()
    worse[::2, :, :CLASSES] = -30  # blind on every other image
    statistics, blind = (DETECTION.statistics(said, truth) for said in (outputs, worse))
    found = score_number(DETECTION, statistics, "host")
    assert found.low is not None and found.high is not None and found.low < found.value < found.high
    assert found.high - found.low < 0.3
    gain = paired_difference(DETECTION, statistics, blind)
    assert gain.low is not None and 0 < gain.low < gain.value


def test_the_teachers_word_is_its_confident_answers() -> None:
    outputs, _ = realistic(7)
    word = truth_of(outputs)
    assert word.dtype == np.float32 and word.shape[2] == CLASSES + 4
    expected = [int((detect(said).confidences >= 0.4).sum()) for said in outputs]
    assert word[..., :CLASSES].sum(axis=(1, 2)).tolist() == expected
    assert score_of(DETECTION, outputs, word) > 0.95


def test_a_flip_takes_the_boxes_along() -> None:
    truth = np.array([padded([row(1, (10, 20, 30, 50))], 2)])
    flipped = mirrored(truth, 100)
    assert flipped[0, 0].tolist() == [0, 1, 0, 70, 20, 90, 50] and not flipped[0, 1].any()
    assert (mirrored(flipped, 100) == truth).all()


@pytest.mark.parametrize("shapes", [((50, 3),), ((50, 3), (50, 5)), ((3, 8, 8), (4, 8, 8)), ((50, 3), (40, 4))])
def test_other_outputs_than_logits_and_boxes_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(BadInput, match=r"two outputs, class logits .* --task generic"):
        check_outputs(shapes)
    check_outputs(((50, 3), (50, 4)))


def test_labels_that_do_not_fit_are_refused() -> None:
    DETECTION.check((1, 50, 7), np.zeros((2, 9, 7)))
    with pytest.raises(BadInput, match="--task generic"):
        DETECTION.check((1, 50, 7), None)
    with pytest.raises(BadInput, match="tells 3 classes apart and the data name 4"):
        DETECTION.check((1, 50, 7), np.zeros((2, 9, 8)))
    with pytest.raises(BadInput, match="x1, y1, x2, y2"):
        DETECTION.check((1, 50, 7), np.zeros((2,)))


def test_thresholds_are_cocos() -> None:
    assert THRESHOLDS.round(2).tolist() == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
