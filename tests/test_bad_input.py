"""Bad input gets one clear sentence, the right exit code, no traceback, and nothing half-written under a final name."""

import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

Command = Callable[..., subprocess.CompletedProcess]


class Canary:
    """Unpickling this touches a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def refused(done: subprocess.CompletedProcess, code: int, *words: str) -> None:
    """One sentence on stderr with these words, nothing on stdout."""
    assert done.returncode == code, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("edgekd: "), done.stderr
    for word in words:
        assert word in last, (word, last)
    assert done.stdout == ""


@pytest.fixture
def run(edgekd: Command, tmp_path: Path, stripes_npz: Path) -> Callable[..., subprocess.CompletedProcess]:
    """`edgekd compress MODEL` with sound data, in an empty folder; afterwards no final name may exist."""

    def compress(model: object, *options: object, data: object = stripes_npz) -> subprocess.CompletedProcess:
        done = edgekd(
            "compress", model, "--out", tmp_path / "run", "--data", data, "--epochs", 1, *options, cwd=tmp_path
        )
        for final in ("artifact", "report", "stages/load", "stages/export"):
            assert not (tmp_path / "run" / final).exists(), final
        return done

    return compress


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.pt2", b"", ("empty",)),
        ("noise.pt", b"\x93\x12 not a model at all" * 50, ("noise.pt",)),
        ("noise.onnx", b"\x00\x01\x02\x03" * 500, ("noise.onnx",)),
        ("text.safetensors", b"hello", ("text.safetensors",)),
    ],
)
def test_files_that_are_no_models(run, tmp_path: Path, name: str, content: bytes, words: tuple[str, ...]) -> None:
    (tmp_path / name).write_bytes(content)
    refused(run(tmp_path / name), 3, *words)


def test_a_missing_model(run, tmp_path: Path) -> None:
    refused(run(tmp_path / "nowhere.pt2"), 3, "nowhere.pt2")


def test_a_truncated_program(run, tmp_path: Path, trained_pt2: Path) -> None:
    whole = trained_pt2.read_bytes()
    (tmp_path / "half.pt2").write_bytes(whole[: len(whole) // 2])
    refused(run(tmp_path / "half.pt2"), 3, "half.pt2")


def test_a_state_dict_without_its_architecture(run, tmp_path: Path, trained_cnn) -> None:
    import torch

    torch.save(trained_cnn.state_dict(), tmp_path / "weights.pt")
    refused(run(tmp_path / "weights.pt"), 3, "--arch")


def test_a_state_dict_of_another_architecture_names_three_keys(run, tmp_path: Path, trained_cnn) -> None:
    import torch

    torch.save({"state_dict": trained_cnn.state_dict()}, tmp_path / "weights.pt")
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(2304, 3))\n"
    )
    done = run(tmp_path / "weights.pt", "--arch", f"{tmp_path / 'net.py'}:build")
    refused(done, 3)
    assert done.stderr.count("weight") + done.stderr.count("bias") + done.stderr.count("running") >= 3


def test_a_pickled_module_is_not_opened_without_trust(run, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(Canary(canary), protocol=2))
        archive.writestr("model/version", "3\n")
    refused(run(tmp_path / "model.pt"), 3, "--trust")
    (tmp_path / "legacy.pt").write_bytes(pickle.dumps(Canary(canary), protocol=2))
    refused(run(tmp_path / "legacy.pt"), 3)
    assert not canary.exists()


def test_an_unknown_device_and_recipe(run, trained_pt2: Path) -> None:
    refused(run(trained_pt2, "--target", "raspbery-pi-4"), 2, "raspberry-pi-4")
    refused(run(trained_pt2, "--recipe", "quik-look"), 2, "quick-look")


def test_a_recipe_with_an_unknown_key(run, tmp_path: Path, trained_pt2: Path) -> None:
    (tmp_path / "r.yaml").write_text("epochz: 3\n")
    refused(run(trained_pt2, "--recipe", tmp_path / "r.yaml"), 3, "epochz", "did you mean 'epochs'")


def test_classes_that_disagree(run, tmp_path: Path, trained_pt2: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (100, 24, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "four.npz", x_train=images, y_train=np.arange(100) % 4)
    refused(run(trained_pt2, data=tmp_path / "four.npz"), 3, "label 3", "3 outputs")


def test_labels_without_images(run, tmp_path: Path, trained_pt2: Path) -> None:
    np.savez(tmp_path / "labels.npz", y_train=np.arange(100) % 3)
    refused(run(trained_pt2, data=tmp_path / "labels.npz"), 3, "x_train")


def test_images_that_do_not_decode_are_named_and_counted(
    run, tmp_path: Path, trained_pt2: Path, stripes_folder
) -> None:
    images = tmp_path / "images"
    shutil.copytree(stripes_folder / "train", images)
    for index in range(30):
        (images / "vertical" / f"broken{index:02d}.png").write_bytes(b"not a png")
    refused(run(trained_pt2, data=images), 3, "broken", "1 %")


def test_a_folder_of_nothing_but_broken_images(run, tmp_path: Path, trained_pt2: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(20):
            (tmp_path / "images" / name / f"{index}.png").write_bytes(b"not a png")
    refused(run(trained_pt2, data=tmp_path / "images"), 3, "none of the 60 images", "a/0.png")


def test_a_near_chance_teacher_stops_the_run(run, tmp_path: Path) -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    torch.export.save(torch.export.export(model, (torch.zeros(1, 3, 24, 32),)), tmp_path / "untrained.pt2")
    refused(run(tmp_path / "untrained.pt2"), 3, "teacher scores", "chance is 33.3 %", "weights not loaded")


def test_a_wrong_input_size_is_said(run, trained_pt2: Path) -> None:
    done = run(trained_pt2, "--input-size", "64,64")
    assert done.returncode in (2, 3)
    refused(done, done.returncode, "--input-size")


def test_unreadable_budgets_and_options(run, trained_pt2: Path) -> None:
    refused(run(trained_pt2, "--budget", "latency=30"), 2, "latency=30", "ms")
    refused(run(trained_pt2, "--budget", "latancy=30ms"), 2, "did you mean 'latency'")
    refused(run(trained_pt2, "--schemes", "int4"), 2, "int4")
    refused(run(trained_pt2, "--prune-steps", "3", "--student", "none"), 2, "--prune-steps is for --student auto")
    assert run(trained_pt2, "--epochz", 3).returncode == 2


def test_the_output_folder_must_be_ours(edgekd: Command, tmp_path: Path, trained_pt2: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    refused(edgekd("compress", trained_pt2, "--out", tmp_path), 2, "not an edgekd run")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
