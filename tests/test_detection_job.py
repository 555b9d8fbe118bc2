"""The whole job on a detector: images with boxes in, an artifact that finds them out."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 48, 64
NETS = """
import torch
import torch.nn.functional as F
from torch import nn


class Detector(nn.Module):
    def __init__(self, width):
        super().__init__()
        sizes = ((3, width, 2), (width, 2 * width, 2), (2 * width, 2 * width, 2), (2 * width, 2 * width, 1))
        layers = [(nn.Conv2d(a, b, 3, s, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()) for a, b, s in sizes]
        self.body = nn.Sequential(*(part for layer in layers for part in layer))
        self.classes, self.sides = nn.Conv2d(2 * width, 2, 1), nn.Conv2d(2 * width, 4, 1)
        nn.init.constant_(self.classes.bias, -4.0)

    def forward(self, images):
        maps = self.body(images)
        left, top, right, bottom = (8 * F.softplus(self.sides(maps).float())).unbind(1)
        rows, columns = (torch.arange(size) for size in maps.shape[2:])
        y, x = (8 * (each + 0.5) for each in torch.meshgrid(rows, columns, indexing="ij"))
        boxes = torch.stack([x - left, y - top, x + right, y + bottom], 1)
        return self.classes(maps).flatten(2).mT, boxes.flatten(2).mT


def teacher():
    return Detector(16)


def student():
    return Detector(6)
"""


def scene(rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, list[float]]]]:
    """Noise with up to two rectangles, one a half: red ones are wide, green ones are tall. Twice the model's size."""
    image = rng.integers(0, 90, (2 * HEIGHT, 2 * WIDTH, 3)).astype(np.uint8)
    objects = []
    for half in range(2):
        if half and rng.random() < 0.3:
            continue
        kind = int(rng.integers(2))
        wide, tall = ((40, 24), (24, 40))[kind]
        wide, tall = wide + int(rng.integers(-6, 7)), tall + int(rng.integers(-6, 7))
        x, y = int(rng.integers(WIDTH - wide)) + half * WIDTH, int(rng.integers(2 * HEIGHT - tall))
        image[y : y + tall, x : x + wide, kind] = 220
        objects.append((kind, [float(x), float(y), float(wide), float(tall)]))
    return image, objects


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 scenes as COCO writes them: 80 of train, 20 of val, 20 of test."""
    image_module = pytest.importorskip("PIL.Image")
    folder, rng = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    (folder / "images").mkdir()
    images, annotations = [], []
    for at in range(120):
        pixels, objects = scene(rng)
        image_module.fromarray(pixels).save(folder / "images" / f"{at:03d}.png")
        images.append({"id": at, "file_name": f"{at:03d}.png", "width": 2 * WIDTH, "height": 2 * HEIGHT})
        for kind, box in objects:
            annotations.append({"id": len(annotations), "image_id": at, "category_id": 7 + kind, "bbox": box})
    whole = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 7, "name": "wide"}, {"id": 8, "name": "tall"}],
        "split": {"train": list(range(80)), "val": list(range(80, 100)), "test": list(range(100, 120))},
    }
    (folder / "coco.json").write_text(json.dumps(whole))
    return folder


@pytest.fixture(scope="module")
def trained_teacher(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The file of nets, and a teacher's weights, trained on labels alone by edgekd's own loop."""
    import torch
    from safetensors.torch import save_file

    from edgekd.data.materialise import materialise, open_split
    from edgekd.formats.architecture import load_function
    from edgekd.preprocessing import Preprocessing
    from edgekd.tasks.detection import DETECTION
    from edgekd.training.data import TrainingData
    from edgekd.training.loop import train
    from edgekd.training.plan import Plan

    folder = tmp_path_factory.mktemp("teacher")
    (folder / "nets.py").write_text(NETS)
    how = Preprocessing(height=HEIGHT, width=WIDTH, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    materialise(str(scenes), folder / "data", how)
    data = TrainingData(open_split(folder / "data", "train"), open_split(folder / "data", "val"), how, DETECTION)
    torch.manual_seed(0)
    module = load_function(f"{folder / 'nets.py'}:teacher")()
    plan = Plan(steps=300, batch_size=16, optimizer="adamw", learning_rate=3e-3, augment="flip", evaluate_every=100)
    trained = train(module, teacher=None, data=data, plan=plan, checkpoint=folder / "checkpoint")
    assert trained.score > 0.6
    save_file(module.state_dict(), folder / "teacher.safetensors")
    return folder / "nets.py", folder / "teacher.safetensors"


@pytest.fixture(scope="module")
def run_folder(
    scenes: Path, trained_teacher: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory, edgekd
) -> Path:
    nets, weights = trained_teacher
    out = tmp_path_factory.mktemp("runs") / "scenes"
    done = edgekd(
        *("compress", weights, "--arch", f"{nets}:teacher", "--student", f"{nets}:student", "--data", scenes),
        *("--target", "raspberry-pi-4", "--out", out, "--input-size", f"{HEIGHT},{WIDTH}", "--json"),
        *(
            "--epochs",
            60,
            "--batch-size",
            16,
            "--learning-rate",
            0.003,
            "--mean",
            "0.5,0.5,0.5",
            "--std",
            "0.5,0.5,0.5",
        ),
    )
    assert done.returncode == 0, done.stderr
    return out


def test_everybody_is_scored_by_map50(run_folder: Path) -> None:
    results = json.loads((run_folder / "report" / "results.json").read_text())
    assert results["score_name"] == "mAP50" and results["classes"] == ["wide", "tall"]
    for who in ("teacher", "student", "control", "shipped"):
        figures = results["models"][who]
        assert figures["score"]["value"] > 0.3
        assert figures["score"]["value"] == pytest.approx(figures["metrics"]["map50"], abs=0.02)
    assert results["distillation"]["gain"]["n"] == 20
    assert "agreement" in results["judgement"]["comparison"]["fidelity"]["student"]
    assert results["per_class_name"] == "average precision" and set(results["per_class"]) == {"wide", "tall"}
    static = next(c for c in results["candidates"] if c["scheme"] == "int8_static")
    assert static["score"]["value"] > 0.2 and static["sqnr_db"] > 8


def test_the_report_names_what_it_shows(run_folder: Path) -> None:
    for name in ("report.md", "report.html"):
        text = (run_folder / "report" / name).read_text()
        assert "mAP50" in text and "Average precision by class" in text and "Recall by class" not in text


def test_the_artifact_says_what_its_outputs_are_and_its_program_finds_objects(run_folder: Path, scenes: Path) -> None:
    artifact = run_folder / "artifact"
    model = onnx.load(artifact / "model.onnx")
    assert [output.name for output in model.graph.output] == ["logits", "boxes"]
    readme = (artifact / "README.md").read_text()
    assert "x1, y1, x2, y2 in pixels" in readme and "sigmoid" in readme
    assert json.loads((artifact / "preprocess.json").read_text())["boxes"]["nms_iou"] == 0.6
    assert (artifact / "labels.txt").read_text().split() == ["wide", "tall"]
    program = artifact / "samples" / "python" / "predict.py"
    truth = json.loads((scenes / "coco.json").read_text())
    right = 0
    for at in range(100, 110):
        picture = scenes / "images" / f"{at:03d}.png"
        done = subprocess.run([sys.executable, program, artifact, picture], capture_output=True, text=True, check=True)
        said = [(words[1], list(map(float, words[2:]))) for words in map(str.split, done.stdout.splitlines())]
        for annotation in (one for one in truth["annotations"] if one["image_id"] == at):
            x, y, wide, tall = annotation["bbox"]
            name = ("wide", "tall")[annotation["category_id"] - 7]
            expected = [x, y, x + wide, y + tall]
            right += any(kind == name and np.abs(np.subtract(box, expected)).max() < 12 for kind, box in said)
    assert right >= 5


def test_the_artifact_verifies(run_folder: Path, edgekd) -> None:
    done = edgekd("verify", run_folder / "artifact")
    assert done.returncode == 0, done.stderr


def test_inputs_that_cut_objects_off_are_refused(scenes: Path, trained_teacher, tmp_path: Path, edgekd) -> None:
    nets, weights = trained_teacher
    done = edgekd(
        *("distill", weights, "--arch", f"{nets}:teacher", "--student", f"{nets}:student", "--data", scenes),
        *("--input-size", f"{HEIGHT},{WIDTH}", "--crop", 0.9, "--epochs", 1, "--out", tmp_path / "run"),
    )
    assert done.returncode == 2 and "--crop would cut off objects" in done.stderr, done.stderr


def test_the_oldest_and_the_newest_runtime_give_the_parity_answer(run_folder: Path, old_runtimes) -> None:
    graphs = dict.fromkeys(("model.onnx", "model.ort", "app.onnx", "app.ort", "sample"), True)
    for version, found in old_runtimes(run_folder / "artifact").items():
        assert found == graphs, version


def test_the_samples_answer_as_training_did(run_folder: Path, answers_everywhere) -> None:
    answers_everywhere(run_folder / "artifact")
