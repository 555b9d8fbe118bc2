"""Scores by emulated kernels, by hand: three classes, one changed answer after the other."""

from pathlib import Path

import numpy as np
import pytest

from edgekd import emulated_scores as module
from edgekd.data.split import Split
from edgekd.emulated_figures import EmulatedCore
from edgekd.emulated_scores import DIFFERING, scores_there
from edgekd.errors import EdgekdError, PlaceLost
from edgekd.preprocessing import Preprocessing
from edgekd.progress import silent
from edgekd.tasks.classification import CLASSIFICATION
from edgekd.tasks.regression import REGRESSION

CORE = EmulatedCore("cortex-a76", "1.31.1")
HOW = Preprocessing(identity=True, input_shape=(3,), dtype="float32")
LABELS = np.arange(12) % 3


@pytest.fixture
def splits() -> dict[str, Split]:
    """Inputs are their own logits, and right; only of test the first is labelled wrongly."""
    logits = np.eye(3, dtype=np.float32)[LABELS]
    wrong = LABELS.copy()
    wrong[0] = 1
    return {"val": Split(logits, LABELS), "test": Split(logits, wrong)}


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """This machine's kernels hand through what they get. By file: how many answers the others change, from the first
    in seeded order on, and after how many samples they stop; or what they fail with."""
    changed: dict[str, object] = {}

    def emulated(path: Path, core: EmulatedCore, inputs, samples: int, **_) -> np.ndarray:
        known = changed[path.stem]
        if isinstance(known, Exception):
            raise known
        wrong, n = known
        logits = inputs(0, min(n, samples)).copy()
        logits[:wrong] = np.roll(logits[:wrong], 1, axis=1)
        return logits

    monkeypatch.setattr(module, "answers", emulated)
    monkeypatch.setattr(module, "predict_batches", lambda path, batches, **_: np.concatenate(list(batches)))
    return changed


def scored(splits: dict[str, Split], *names: str, task=CLASSIFICATION):
    return scores_there(
        {name: Path(f"{name}.onnx") for name in names},
        CORE,
        teacher=Path("teacher.onnx"),
        task=task,
        splits=splits,
        preprocessing=HOW,
        seconds=60,
        seed=0,
        listen=silent,
    )


def test_score_drop_and_differing_answers_by_hand(splits, kernels) -> None:
    kernels["int8"] = (2, 99)
    found, notes = scored(splits, "int8")
    first = np.random.default_rng(0).permutation(12)[:2]
    lucky = int(0 in first)  # the one that is labelled wrongly becomes right when its answer changes
    one = found["int8"]
    assert one.score.value == pytest.approx((11 - 2 + 2 * lucky) / 12)
    assert one.drop.value == pytest.approx((2 - 2 * lucky) / 12)
    assert (one.score.word, one.score.place, one.score.n) == ("emulated", "emulate:cortex-a76@1.31.1", 12)
    assert (one.drop.word, one.drop.unit, one.drop.n) == ("emulated", "fraction", 12)
    assert one.metrics[DIFFERING] == 2 and one.metrics["accuracy"] == pytest.approx(one.score.value)
    assert one.lost == pytest.approx(2 / 12)
    assert notes == ()


def test_all_are_scored_on_the_samples_that_each_had_time_for(splits, kernels) -> None:
    kernels.update(slow=(0, 5), fast=(12, 99))
    found, notes = scored(splits, "slow", "fast")
    assert {one.score.n for one in found.values()} == {5}
    assert found["fast"].metrics[DIFFERING] == 5 and found["slow"].metrics[DIFFERING] == 0
    rows = np.random.default_rng(0).permutation(12)[:5]
    assert found["slow"].score.value == pytest.approx(np.mean(splits["test"].labels[rows] == LABELS[rows]))
    drop = found["slow"].drop  # a twentieth is the chance that of five none differs, where 45 % of all do
    assert (drop.low, drop.value, drop.high) == pytest.approx((-0.4507, 0, 0.4507), abs=1e-4)
    right = 100 * found["slow"].score.value
    assert notes == (
        f"5 of 12 val samples, drawn by the seed, were scored on {CORE.place}: as many as every file ran in 60 s",
        f"5 of 12 test samples, drawn by the seed, were scored on {CORE.place}: as many as every file ran in 60 s",
        f"on the same 5 test samples the teacher scores {right:.2f} % here; each drop is from that",
    )


def test_what_cannot_be_scored_is_said_and_a_lost_kit_ends_the_run(splits, kernels) -> None:
    kernels.update(bad=EdgekdError("the emulated core stopped"), good=(0, 99))
    found, notes = scored(splits, "bad", "good")
    assert set(found) == {"good"}
    assert notes == (
        f"bad could not be scored on {CORE.place}, so its score is this machine's: the emulated core stopped",
    )
    kernels["bad"] = PlaceLost("the kit is gone")
    with pytest.raises(PlaceLost):
        scored(splits, "bad")


def test_only_classes_can_differ(splits, kernels) -> None:
    kernels["int8"] = (1, 99)
    floats = {name: Split(split.inputs, split.inputs) for name, split in splits.items()}
    found, _ = scored(floats, "int8", task=REGRESSION)
    assert DIFFERING not in found["int8"].metrics
    assert found["int8"].lost == pytest.approx((2 / 36) / (2 / 9))  # squares that are off, over those of the truth
