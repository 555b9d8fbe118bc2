"""The samples in Python, Node.js and C++: they answer as numpy does, and find out when they compute something else."""

import runpy
import wave
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

hand_made = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("hand_made.py"))))

programs = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "sample_programs.py")))

pytestmark = pytest.mark.slow

CopyOut = Callable[..., Callable[..., Any]]
CHECKED = "self-check: 6 vectors answered as in training\n"
OTHERWISE = "this computes something else than was tested"


def write_input(kind: str, raw: np.ndarray, folder: Path) -> list[tuple[object, ...]]:
    """The same input in every form that a sample in every language takes."""
    np.save(folder / "input.npy", raw)
    if kind == "image":
        pixels = raw[:, :, 0] if raw.shape[2] == 1 else raw
        Image.fromarray(pixels).save(folder / "input.ppm")
        return [(folder / "input.ppm",), (folder / "input.npy",)]
    if kind == "sound":
        with wave.open(str(folder / "input.wav"), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(hand_made.RATE)
            whole = (raw * 32767).round()
            file.writeframes(np.stack([whole - 3, whole + 3], axis=1).clip(-32768, 32767).astype("<i2").tobytes())
        return [(folder / "input.wav",), (folder / "input.npy",)]
    return [(folder / "input.npy",)]


def assert_answers(said: str, raw: np.ndarray, kind: str, answer: str) -> None:
    if answer == "outputs":
        assert np.array(said.split(), float) == pytest.approx(hand_made.features(raw, kind), rel=1e-3)
        return
    expected = hand_made.expected(raw, kind, answer)
    rows = said.removesuffix("\n").split("\n")
    assert len(rows) == len(expected["indices"])
    for at, row in enumerate(rows):
        share, rest = row.split(" ", 1)
        assert float(share) == pytest.approx(
            expected["probabilities" if answer == "classes" else "scores"][at], abs=2e-3
        )
        words = rest.rsplit(" ", 4) if answer == "boxes" else [rest]
        assert words[0] == expected["labels"][at]
        if answer == "boxes":
            assert list(map(float, words[1:])) == pytest.approx(expected["boxes"][at], abs=0.06)


@pytest.mark.parametrize(
    ("kind", "answer", "channels"),
    [
        ("image", "classes", 3),
        ("image", "boxes", 3),
        ("image", "outputs", 1),
        ("sound", "classes", 3),
        ("tokens", "classes", 3),
        ("array", "classes", 3),
        ("array", "outputs", 3),
    ],
)
def test_it_checks_itself_and_answers_as_numpy_does(
    kind: str, answer: str, channels: int, language: str, copy_out: CopyOut, tmp_path: Path
) -> None:
    session = {
        **{"threads": 2, "arena": False, "memory_pattern": False, "prepacking": False},
        "session.use_memory_mapped_ort_model": "1",
    }
    artifact = hand_made.write_artifact(tmp_path / "an artifact ü", kind, answer, channels=channels, session=session)
    run = copy_out(language, artifact)
    alone = run()
    assert (alone.returncode, alone.stdout, alone.stderr) == (0, "", CHECKED)
    raw = hand_made.raw_inputs(kind, channels)[3]
    for arguments in write_input(kind, raw, tmp_path):
        done = run(*arguments)
        assert done.returncode == 0, done.stderr
        assert_answers(done.stdout, raw, kind, answer)


def test_token_ids_may_be_typed(copy_out: CopyOut, tmp_path: Path) -> None:
    artifact = hand_made.write_artifact(tmp_path / "artifact", "tokens", "classes")
    for language in ("node", "cpp"):
        done = copy_out(language, artifact)("7 30 2")
        assert_answers(done.stdout, np.array([7, 30, 2]), "tokens", "classes")


def test_grey_becomes_colour_and_colour_grey(language: str, copy_out: CopyOut, tmp_path: Path) -> None:
    grey = hand_made.raw_inputs("image", 1)[1]
    colour = hand_made.raw_inputs("image", 3)[2]
    Image.fromarray(grey[:, :, 0]).save(tmp_path / "grey.ppm")
    Image.fromarray(colour).save(tmp_path / "colour.ppm")
    of_pillow = np.asarray(Image.fromarray(colour).convert("L"))[:, :, None]
    for channels, file, raw in ((3, "grey.ppm", grey.repeat(3, axis=2)), (1, "colour.ppm", of_pillow)):
        artifact = hand_made.write_artifact(tmp_path / f"artifact{channels}", "image", "outputs", channels=channels)
        assert_answers(copy_out(language, artifact)(tmp_path / file).stdout, raw, "image", "outputs")


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_sounds_of_every_width(width: int, language: str, copy_out: CopyOut, tmp_path: Path) -> None:
    raw = hand_made.raw_inputs("sound")[2]
    whole = (raw.astype(np.float64) * (2 ** (8 * width - 1) - 1)).round().astype("<i8") + 128 * (width == 1)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setparams((1, width, hand_made.RATE, 0, "NONE", ""))
        file.writeframes(whole.view(np.uint8).reshape(-1, 8)[:, :width].tobytes())
    artifact = hand_made.write_artifact(tmp_path / "artifact", "sound", "outputs")
    run = copy_out(language, artifact)
    done = run(tmp_path / "sound.wav")
    near = hand_made.features(raw, "sound")
    assert np.array(done.stdout.split(), float) == pytest.approx(near, abs=0.2 if width == 1 else 0.01), done.stderr
    data = bytearray((tmp_path / "sound.wav").read_bytes())
    data[24:28] = (44100).to_bytes(4, "little")
    (tmp_path / "other.wav").write_bytes(data)
    refused = run(tmp_path / "other.wav")
    assert refused.returncode == 1 and "44100 samples a second; bring it to 8000 first" in refused.stderr


def _reversed(model: onnx.ModelProto) -> None:
    _set(model, "weights", hand_made.WEIGHTS[::-1].copy())


def _unscaled(model: onnx.ModelProto) -> None:
    _set(model, "levels", np.float32(1))


def _set(model: onnx.ModelProto, name: str, value: Any) -> None:
    next(one for one in model.graph.initializer if one.name == name).CopyFrom(
        numpy_helper.from_array(np.asarray(value), name)
    )


@pytest.mark.parametrize("answer", ["classes", "boxes"])
def test_a_spoiled_artifact_is_caught(answer: str, language: str, copy_out: CopyOut, tmp_path: Path) -> None:
    """The graph with channels reversed or pixels unscaled, and labels out of order; of one artifact after the other."""
    turned = [*hand_made.LABELS[1:], hand_made.LABELS[0]]
    artifact = hand_made.write_artifact(tmp_path / "artifact", "image", answer)
    run = copy_out(language, artifact)
    assert run().returncode == 0
    for spoiled in ({"spoil": _reversed}, {"spoil": _unscaled}, {"labels": turned}):
        artifact.rename(tmp_path / f"before {len(list(tmp_path.iterdir()))}")
        hand_made.write_artifact(artifact, "image", answer, **spoiled)
        done = run(artifact / "parity" / "raw0.npy")
        assert done.returncode == 1 and done.stdout.count(" ") <= 40, done.stdout
        assert OTHERWISE in done.stderr, spoiled


@pytest.mark.parametrize("mistake", programs.KINDS["image"])
def test_a_mistake_in_the_program_is_caught(mistake: str, language: str, copy_out: CopyOut, tmp_path: Path) -> None:
    artifact = hand_made.write_artifact(tmp_path / "artifact", "image", "classes")
    done = copy_out(language, artifact, dict([programs.MISTAKES[language][mistake]]))(artifact / "parity" / "raw0.npy")
    assert done.returncode == 1
    assert OTHERWISE in done.stderr


@pytest.mark.parametrize("kind", ["sound", "tokens", "array"])
def test_labels_out_of_order_are_caught_whatever_the_input(
    kind: str, language: str, copy_out: CopyOut, tmp_path: Path
) -> None:
    artifact = hand_made.write_artifact(tmp_path / "artifact", kind, "classes", labels=hand_made.LABELS[::-1])
    done = copy_out(language, artifact)()
    assert done.returncode == 1 and OTHERWISE in done.stderr


def test_numbers_that_differ_are_caught(language: str, copy_out: CopyOut, tmp_path: Path) -> None:
    artifact = hand_made.write_artifact(tmp_path / "artifact", "array", "outputs", spoil=_reversed)
    done = copy_out(language, artifact)()
    assert done.returncode == 1 and OTHERWISE in done.stderr


def test_image_files_of_many_kinds_in_python_and_node(copy_out: CopyOut, tmp_path: Path) -> None:
    """Decoded by Pillow and by sharp, upright, transparency left out of account."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 14, 4), np.uint8)
    pixels[..., 3] |= 1
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "colour.png": (Image.fromarray(pixels[..., :3]), {}),
        "transparent.png": (Image.fromarray(pixels), {}),
        "grey.png": (Image.fromarray(pixels[..., 0]), {}),
        "turned.png": (Image.fromarray(pixels[..., :3]), {"exif": exif}),
    }
    artifact = hand_made.write_artifact(tmp_path / "artifact", "image", "boxes")
    runs = {language: copy_out(language, artifact) for language in ("python", "node")}
    for name, (image, more) in files.items():
        image.save(tmp_path / name, **more)
        raw = np.asarray(image.convert("RGB"))
        raw = np.rot90(raw, -1) if more else raw
        for run in runs.values():
            done = run(tmp_path / name)
            assert done.returncode == 0, done.stderr
            assert_answers(done.stdout, raw, "image", "boxes")
