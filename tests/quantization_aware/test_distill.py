"""An int8 file taught by its float model: what it gains, that it is what was trained, and that it repeats."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from edgekd.device import Numerics
from edgekd.errors import BadInput
from edgekd.exporting.onnx_export import export_onnx
from edgekd.progress import silent
from edgekd.quantization_aware import distill
from edgekd.quantization_aware import teach as module
from edgekd.quantization_aware.distill import QadResult, distill_quantized, learning_rate_for
from edgekd.quantization_aware.interpreter import Interpreter, constants_of
from edgekd.quantization_aware.losses import classifier_loss, relative_error
from edgekd.quantization_aware.student import Student
from edgekd.quantization_aware.teach import Course, teach
from edgekd.quantization_aware.write_back import with_constants
from edgekd.runtimes import predict_all
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.int8_static import int8_static

Files = tuple[Path, Path]


def distilled(files: Files, out: Path, images: np.ndarray, **changes: object) -> QadResult:
    settings = {"classifier": False, "passes": 2, "learning_rate": None, "seed": 0, "seconds": None}
    return distill_quantized(
        files[1], files[0], out, inputs=images[:-256], held_out=images[-256:], listen=silent, **(settings | changes)
    )


def constants(path: Path) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}


@pytest.mark.slow
def test_distillation_mends_what_static_quantization_broke(uneven: Files, images: np.ndarray, tmp_path: Path) -> None:
    out = tmp_path / "trained.onnx"
    result = distilled(uneven, out, images)
    assert result.before_db < 15  # a healthy int8 file has 25 and more
    assert result.after_db > result.before_db + 3  # half the noise
    assert (result.file, result.steps) == ("trained.onnx", 80)
    assert 0 < result.best_step <= 80
    # The loss is noise over signal as the student computes it, the decibels are the file's own in the runtime.
    assert -10 * np.log10(result.after_loss) == pytest.approx(result.after_db, abs=1.0)


@pytest.mark.slow
def test_only_numbers_change_and_biases_keep_the_scale_that_integer_kernels_assume(
    uneven: Files, images: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "trained.onnx"
    distilled(uneven, out, images, passes=1)
    before, after = onnx.load(uneven[1]), onnx.load(out)
    assert list(before.graph.node) == list(after.graph.node)
    old, new = constants(uneven[1]), constants(out)
    assert {name: (one.shape, one.dtype) for name, one in old.items()} == {
        name: (one.shape, one.dtype) for name, one in new.items()
    }
    assert all(np.array_equal(old[name], new[name]) for name in old if name.endswith("zero_point"))
    moved = {new[name].dtype for name in old if not np.array_equal(old[name], new[name])}
    assert moved >= {np.dtype(np.int8), np.dtype(np.int32), np.dtype(np.float32)}
    made_by = {name: node for node in after.graph.node for name in node.output}
    for node in after.graph.node:
        if node.op_type == "Conv":
            one, two, bias = (new[made_by[name].input[1]] for name in node.input)
            np.testing.assert_allclose(bias, one * two, rtol=1e-6)


def test_the_file_computes_what_the_student_computes(uneven: Files, images: np.ndarray, reference) -> None:
    """Also from parameters that no training was kind to."""
    model = onnx.load(uneven[1])
    student = Student(model, "int8", {})
    torch.manual_seed(0)
    with torch.no_grad():
        for steps in student.steps:
            steps += 3 * torch.randn_like(steps)
        said = student(torch.from_numpy(images[:64]))[0].numpy()
    runtime = reference(with_constants(model, student.current()), images[:64])[0]
    assert not np.allclose(said, reference(model, images[:64])[0], rtol=1e-2)
    assert np.abs(said - runtime).max() < 1e-5 * np.abs(runtime).max()


def test_weights_start_from_the_float_model_and_give_the_codes_of_the_file(uneven: Files) -> None:
    model, original = onnx.load(uneven[1]), constants_of(onnx.load(uneven[0]), "float")
    student = Student(model, "int8", original)
    name = next(name for name, node in student.integers.items() if student.graph.constants[name].dtype == torch.int8)
    at = student.place[name]
    values = (student.steps[at] * student.units[at]).detach()
    torch.testing.assert_close(values, original[name.removesuffix("_quantized")])
    assert (student.current()[name] - student.graph.constants[name].float()).abs().max() <= 1
    elsewhere = {key: value + 1 for key, value in original.items()}  # no longer what was quantized: not believed
    torch.testing.assert_close(Student(model, "int8", elsewhere).current()[name], student.graph.constants[name].float())


@pytest.mark.slow
def test_one_seed_gives_the_same_bytes_and_another_gives_others(
    uneven: Files, images: np.ndarray, tmp_path: Path
) -> None:
    first, second, other = (tmp_path / name for name in ("first.onnx", "second.onnx", "other.onnx"))
    for out, seed in ((first, 1), (second, 1), (other, 2)):
        distilled(uneven, out, images[::2], passes=1, seed=seed)
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()


def test_where_nothing_is_gained_the_file_stays_as_it_was(uneven: Files, images: np.ndarray, tmp_path: Path) -> None:
    out = tmp_path / "trained.onnx"
    result = distilled(uneven, out, images, passes=1, learning_rate=1e4)
    assert result.best_step == 0
    assert result.after_db == result.before_db
    assert constants(out).keys() == constants(uneven[1]).keys()
    assert all(np.array_equal(one, constants(uneven[1])[name]) for name, one in constants(out).items())


def test_too_little_time_cuts_the_steps_and_says_so(uneven: Files, images: np.ndarray, tmp_path: Path) -> None:
    result = distilled(uneven, tmp_path / "trained.onnx", images, seconds=1e-3)
    assert (result.steps, result.best_step) == (0, 0)
    assert result.notes == ("0.001 s are enough for 0 of 80 steps",)


def test_a_loss_that_is_no_number_ends_the_training_with_the_best_so_far(uneven: Files, images: np.ndarray) -> None:
    student = Student(onnx.load(uneven[1]), "int8", {})
    teacher = Interpreter(onnx.load(uneven[0]), "float")
    calls = iter([1.0, 1.0, 1.0, 1.0, 1.0, float("nan")])  # held out before, then each step and held out after it
    error = relative_error((1.0,))
    lesson = teach(
        student,
        teacher,
        lambda s, t: error(s, t) * next(calls),
        inputs=images[:160],
        held_out=images[:32],
        course=Course(passes=1, batch_size=32, learning_rate=0.1, seed=0, seconds=None),
        listen=silent,
    )
    assert lesson.steps == 2
    assert lesson.notes == ("at step 3 the loss was no number: training ended there, with the best weights so far",)
    assert all(bool(torch.isfinite(one).all()) for one in student.steps)


def test_the_losses_by_hand() -> None:
    """Noise over signal: ((1 - 0)² + 0) / 2 over power 2, and 4 over power 8, averaged."""
    student = (torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0]]))
    teacher = (torch.tensor([[0.0, 2.0]]), torch.tensor([[5.0]]))
    assert relative_error((2.0, 8.0))(student, teacher).item() == pytest.approx((0.25 + 0.5) / 2)
    shifted = (teacher[0] + 5.0,)  # probabilities, and not logits, are compared
    assert classifier_loss(shifted, teacher[:1]).item() == pytest.approx(0.0, abs=1e-6)


def test_the_less_is_amiss_the_smaller_the_learning_rate() -> None:
    assert learning_rate_for(0.0) == learning_rate_for(-20.0) == 0.3
    assert learning_rate_for(20.0) == pytest.approx(0.03)
    assert learning_rate_for(40.0) == pytest.approx(0.003)


def test_an_interrupted_run_takes_as_many_steps_as_it_planned(
    uneven: Files, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe of 3 steps takes one tick: 10.75 s are enough for 2 of 4 steps at 1 s, and for all at 1 ms."""

    def run(name: str, tick: float, seed: int = 0) -> int:
        ticks = itertools.count(0.0, tick)
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
        plan = tmp_path / "plan.json"
        return distilled(uneven, tmp_path / name, images[:384], passes=1, seconds=10.75, plan=plan, seed=seed).steps

    assert (run("first.onnx", 1.0), run("second.onnx", 1e-3)) == (2, 2)
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()
    assert run("other.onnx", 1e-3, seed=1) == 4  # another run's plan
    (tmp_path / "plan.json").write_text("half of")
    assert run("third.onnx", 1.0) == 2


class TwoHeads(nn.Module):
    """Logits of classes, and a number."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.classes, self.number = nn.Linear(64, 16), nn.Linear(16, 10), nn.Linear(16, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        trunk = self.trunk(image.flatten(1)).relu()
        return self.classes(trunk), self.number(trunk)


def test_a_classifier_of_several_outputs_is_taught_all_of_them(images: np.ndarray, tmp_path: Path) -> None:
    torch.manual_seed(0)
    files = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    export_onnx(TwoHeads().eval(), torch.from_numpy(images[:1]), files[0], max_opset=17, max_ir=8)
    numerics = Numerics(activations="uint8", per_channel=False, reduce_range=False)
    int8_static(files[0], files[1], calibration=CalibrationData(images[:64]), numerics=numerics)
    results = [
        distilled(files, tmp_path / f"{classifier}.onnx", images[:384], passes=1, classifier=classifier)
        for classifier in (True, False)
    ]
    assert results[0].before_loss == results[1].before_loss > 0


def test_a_file_that_does_not_run_is_not_left_behind(
    uneven: Files, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(path: Path, batches: list[np.ndarray]) -> tuple[np.ndarray, ...]:
        if path not in uneven:
            raise BadInput("it does not run")
        return predict_all(path, batches)

    monkeypatch.setattr(distill, "predict_all", refusing)
    with pytest.raises(BadInput, match="it does not run"):
        distilled(uneven, tmp_path / "trained.onnx", images[:384], passes=1)
    assert not list(tmp_path.iterdir())


def test_inputs_that_are_too_few_are_refused(uneven: Files, images: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="too few to train on"):
        distilled(uneven, tmp_path / "trained.onnx", images[:256])  # nothing is left to train on
    assert not list(tmp_path.iterdir())
