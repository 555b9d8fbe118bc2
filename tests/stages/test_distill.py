"""The stage that trains and judges: whole, cut off at any moment, and from a teacher that can only be run."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from torch import nn

from edgekd.data.materialise import materialise
from edgekd.data.split import open_split
from edgekd.errors import UsageError
from edgekd.formats.read import LoadedModel, read_model
from edgekd.preprocessing import Preprocessing
from edgekd.progress import Tick, silent
from edgekd.recipe_file import make_recipe
from edgekd.stages import distill as stage
from edgekd.stages.distill import Distilled, distill, trained_modules
from edgekd.tasks.classification import CLASSIFICATION
from edgekd.tasks.regression import GENERIC
from edgekd.tasks.task import Task
from edgekd.training.evaluate import predict_outputs

STRIPES = Preprocessing(height=24, width=32, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
DIGITS = Preprocessing(height=8, width=8, channels=1, mean=(0.3,), std=(0.35,))
STUDENT = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(192, 3))
"""
TIMES = {"seconds", "seconds_per_1000_samples", "peak_memory_kib"}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def digits_net() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10)),
    )


@pytest.fixture(scope="module")
def digits_teacher(tmp_path_factory) -> Path:
    """A net trained on digits for a second, as a file."""
    images, labels = load_digits(return_X_y=True)
    inputs = torch.from_numpy((images[:1000].reshape(-1, 1, 8, 8) / 17 - 0.3) / 0.35).float()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = digits_net()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(6):
        for batch in torch.randperm(len(inputs)).split(50):
            loss = nn.functional.cross_entropy(net(inputs[batch]), torch.from_numpy(labels[batch]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    path = tmp_path_factory.mktemp("digits") / "teacher.pt2"
    size = torch.export.Dim("batch", min=1, max=4096)
    torch.export.save(torch.export.export(net.eval(), (inputs[:2],), dynamic_shapes=[{0: size}]), path)
    return path


@pytest.fixture
def loaded(digits_teacher, tmp_path) -> Path:
    """What the load stage leaves: 300 digits to train on, 150 to validate, 150 to test, and the teacher's word."""
    images, labels = load_digits(return_X_y=True)
    images, labels = (images.reshape(-1, 8, 8, 1) * 15).astype(np.uint8), labels.astype(np.int64)
    parts = {"train": slice(0, 300), "val": slice(1000, 1150), "test": slice(1200, 1350)}
    arrays = {
        f"{kind}_{name}": every[part] for kind, every in (("x", images), ("y", labels)) for name, part in parts.items()
    }
    np.savez(tmp_path / "digits.npz", **arrays)
    (tmp_path / "loaded" / "data").mkdir(parents=True)
    materialise(str(tmp_path / "digits.npz"), tmp_path / "loaded" / "data", DIGITS)
    said = predict_outputs(read_model(digits_teacher).module, open_split(tmp_path / "loaded" / "data", "test"), DIGITS)
    np.save(tmp_path / "loaded" / "teacher_test_outputs.npy", said)
    return tmp_path / "loaded"


@pytest.fixture
def run(digits_teacher, loaded) -> Callable[..., Distilled]:
    def run(
        folder: Path, *, task: Task = CLASSIFICATION, listen: Callable[[Tick], None] = silent, **asked: Any
    ) -> Distilled:
        asked = {"epochs": 3, "batch_size": 30, "learning_rate": 0.05, "accelerator": "cpu", **asked}
        folder.mkdir(exist_ok=True)
        return distill(
            folder,
            plan=make_recipe(model=str(digits_teacher), data="digits.npz", **asked),
            teacher=read_model(digits_teacher),
            preprocessing=DIGITS,
            outputs=10,
            task=task,
            classes=tuple("0123456789"),
            loaded=loaded,
            latency_goal=None,
            listen=listen,
        )

    return run


def timeless(value: Any) -> Any:
    """The record without what differs from run to run."""
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key not in TIMES}
    return [timeless(inner) for inner in value] if isinstance(value, list | tuple) else value


def score_of(module: nn.Module, loaded: Path) -> float:
    test = open_split(loaded / "data", "test")
    return float((predict_outputs(module, test, DIGITS).argmax(axis=1) == test.labels).mean())


JUDGED = {"seeds": 2, "ablate": True, "loss": ("standardised_logits", "correlation")}
TRAININGS = ["student", "control", "student-1", "control-1", "only-standardised_logits", "only-correlation"]


def test_a_student_is_judged_whole(run, loaded, digits_teacher, tmp_path, monkeypatch) -> None:
    bouts: list = []
    real = stage.train_bouts
    monkeypatch.setattr(stage, "train_bouts", lambda *how, **named: bouts.extend(real(*how, **named)) or tuple(bouts))
    ticks: list[Tick] = []
    found = run(tmp_path / "run", listen=ticks.append, **JUDGED)
    assert list(dict.fromkeys(tick.phase for tick in ticks)) == TRAININGS
    # Three passes over 300 samples in batches of 30.
    assert len(ticks) == 6 * 30
    assert found.trained == ("student", "control") and found.spec == "auto" and found.macs < 0.5 * 120_000
    told = found.distillation
    assert (told.steps, told.samples, set(told.curves)) == (30, 900, {"student", "control"})
    assert told.loss == "standardised_logits x 9, correlation x 2, labels x 0.1"
    assert told.macs_kept == pytest.approx(0.5, abs=0.15)
    assert found.shipped == told.shipped == ("student" if told.gain.value >= 0 else "control")

    # Of the seeds, the best on validation goes on.
    teacher: LoadedModel = read_model(digits_teacher)
    modules = trained_modules(found, teacher, DIGITS)
    for who, module in modules.items():
        module.load_state_dict(load_file(tmp_path / "run" / f"{who}.safetensors"))
        best = max((getattr(bout, who) for bout in bouts), key=lambda entry: entry.trained.score)
        assert all(torch.equal(value, best.module.state_dict()[name]) for name, value in module.state_dict().items())
    gains = [bout.student.trained.score - bout.control.trained.score for bout in bouts]
    assert told.gain.value == pytest.approx(sum(gains) / 2)

    judged = found.judgement
    assert [one.seed for one in judged.seeds] == [0, 1]
    for one, bout in zip(judged.seeds, bouts, strict=True):
        assert one.student.value == pytest.approx(score_of(bout.student.module, loaded))
        assert one.control.value == pytest.approx(score_of(bout.control.module, loaded))
        assert one.teacher.value == pytest.approx(score_of(teacher.module, loaded)) and one.teacher.value > 0.85
    assert judged.gain_over_seeds.n == 2 and set(judged.seed_scores) == {"teacher", "control", "student"}
    rows = {row.name: row for row in judged.ablation}
    assert list(rows) == ["labels only", "standardised_logits", "correlation", "the combination"]
    assert rows["labels only"].score == judged.seeds[0].control
    assert rows["the combination"].score == judged.seeds[0].student
    assert rows["the combination"].difference == judged.seeds[0].gain
    assert set(judged.comparison.fidelity) == {"student", "control"}
    assert set(judged.comparison.class_gains) == set("0123456789")
    assert judged.tuning == () and judged.folds == ()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "control.safetensors",
        "student.safetensors",
        "training.json",
    }


@pytest.mark.slow
def test_a_kill_at_any_moment_costs_what_was_not_finished_and_nothing_else(run, tmp_path) -> None:
    """What a kill leaves behind is what is on disk at that moment; so the disk is copied while the run goes on."""
    moments = {"control": 12, "student-1": 17, "only-correlation": 30}

    def copying(tick: Tick) -> None:
        if moments.get(tick.phase) == tick.done:
            shutil.copytree(tmp_path / "whole", tmp_path / tick.phase)

    whole = run(tmp_path / "whole", listen=copying, **JUDGED)
    for phase in moments:
        ticks: list[Tick] = []
        again = run(tmp_path / phase, listen=ticks.append, **JUDGED)
        assert timeless(again.model_dump()) == timeless(whole.model_dump())
        for who in ("student", "control"):
            files = [(tmp_path / name / f"{who}.safetensors").read_bytes() for name in ("whole", phase)]
            assert files[0] == files[1]
        # Three passes have 4 evaluations, after 8 steps each and the last, at which a training is saved.
        expected = {"control": ("control", 9), "student-1": ("student-1", 17)}.get(phase)
        rest = TRAININGS[TRAININGS.index(phase) + (expected is None) :]
        assert list(dict.fromkeys(tick.phase for tick in ticks)) == rest
        assert (ticks[0].phase, ticks[0].done) == expected if expected else not ticks


@pytest.mark.slow
def test_an_error_in_the_middle_leaves_a_run_that_can_be_taken_up(run, tmp_path) -> None:
    def failing(tick: Tick) -> None:
        if (tick.phase, tick.done) == ("control", 20):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run(tmp_path / "run", listen=failing)
    ticks: list[Tick] = []
    again = run(tmp_path / "run", listen=ticks.append)
    assert ticks[0].phase == "control" and ticks[0].done == 17
    assert timeless(again.model_dump()) == timeless(run(tmp_path / "whole").model_dump())


def test_without_a_control_nothing_is_said_of_the_teachers_worth(run, tmp_path) -> None:
    found = run(tmp_path / "run", judge=False, epochs=1)
    assert found.trained == ("student",) and found.shipped == "student" and found.judgement is None
    assert found.distillation.gain is None and "not known" in found.distillation.reason
    assert not (tmp_path / "run" / "control.safetensors").exists()


def test_few_labels_are_said_and_the_teacher_makes_up_for_the_others(run, loaded, tmp_path) -> None:
    labels = loaded / "data" / "train_labels.npy"
    every = np.load(labels)
    every_found = run(tmp_path / "every", epochs=6)
    np.save(labels, every[:40])
    found = run(tmp_path / "few", epochs=6)
    assert every_found.distillation.unlabelled == 0 and found.distillation.unlabelled == len(every) - 40
    assert found.distillation.steps == every_found.distillation.steps
    assert found.distillation.gain.low > 0 and found.distillation.gain.value > every_found.distillation.gain.value


def test_a_cache_that_could_not_keep_the_teachers_word_is_refused(run, tmp_path) -> None:
    with pytest.raises(UsageError, match="--teacher-cache keeps one output, and --task generic has all"):
        run(tmp_path / "distill", task=GENERIC, teacher_cache=str(tmp_path / "cache"))


def test_losses_between_layers_are_weighed_and_reported(run, tmp_path) -> None:
    ticks: list[Tick] = []
    asked = {"loss": ("hint", "standardised_logits"), "student": None}
    found = run(tmp_path / "run", listen=ticks.append, epochs=1, **asked)
    (remark,) = (note for note in found.notes if note.startswith("hint"))
    assert ("dropped" in remark) is ("hint" not in found.distillation.loss)
    assert len({tick.phase for tick in ticks}) == 3 and len(ticks) == 3 * 10


@pytest.mark.slow
def test_the_share_of_macs_is_taken_from_the_graph_of_an_onnx_teacher(stripes_npz, tmp_path) -> None:
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 48, 3))
    path = tmp_path / "teacher.onnx"
    torch.onnx.export(teacher.eval(), (torch.zeros(1, 3, 24, 32),), path, dynamo=True, verbose=False)
    (tmp_path / "student.py").write_text(STUDENT)
    (tmp_path / "loaded" / "data").mkdir(parents=True)
    materialise(str(stripes_npz), tmp_path / "loaded" / "data", STRIPES)
    model = read_model(path)
    said = predict_outputs(model.module, open_split(tmp_path / "loaded" / "data", "test"), STRIPES)
    np.save(tmp_path / "loaded" / "teacher_test_outputs.npy", said)
    (tmp_path / "run").mkdir()
    found = distill(
        tmp_path / "run",
        plan=make_recipe(
            model=str(path), data=str(stripes_npz), student=f"{tmp_path / 'student.py'}:build", epochs=1, batch_size=40
        ),
        teacher=model,
        preprocessing=STRIPES,
        outputs=3,
        task=CLASSIFICATION,
        classes=("diagonal", "horizontal", "vertical"),
        loaded=tmp_path / "loaded",
        latency_goal=None,
        listen=silent,
    )
    # 6 x 8 positions of 27 inputs to 8 and to 4 channels, then 384 and 192 inputs to 3 classes.
    ours, theirs = 48 * 27 * 4 + 192 * 3, 48 * 27 * 8 + 384 * 3
    assert found.distillation.macs_kept == pytest.approx(ours / theirs)
    assert found.trained == ("student", "control")
