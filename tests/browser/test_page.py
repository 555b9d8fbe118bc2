"""The page in a real browser, used as a person does: the same answer as Python for the same image file."""

import json
import re
import runpy
import tarfile
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from edgekd.browser import trial
from edgekd.browser.server import serving
from edgekd.browser.trial import try_artifact
from edgekd.preprocessing import Preprocessing

pytestmark = pytest.mark.slow

HELPERS = runpy.run_path(str(Path(__file__).with_name("conftest.py")))
HAND_MADE = runpy.run_path(str(Path(__file__).parents[1] / "artifact" / "samples" / "hand_made.py"))
KINDS = runpy.run_path(str(Path(__file__).parents[1] / "sample_programs.py"))["KINDS"]
SHARED = Path(__file__).resolve().parents[2].parent / "shared"
ROUNDED = 0.011
"""Points of probability: the page shows two places."""
JPEG = 1.0
"""Points of probability: two JPEG decoders may differ by a level or two in a pixel."""


def photograph(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Smooth shapes with noise on them, uint8 (height, width, channels)."""
    rng = np.random.default_rng(height * width)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / rng.uniform(3, 20) + columns / rng.uniform(3, 20)) for _ in range(channels)]
    return np.clip(128 + 90 * np.stack(waves, axis=2) + rng.normal(0, 20, (height, width, channels)), 0, 255).astype(
        np.uint8
    )


def write_images(folder: Path) -> dict[str, Path]:
    """Image files of many sizes and modes."""
    folder.mkdir()
    palette = Image.fromarray(photograph(90, 70)).quantize(32)
    made = {
        "as-the-model.png": Image.fromarray(photograph(24, 32)),
        "tall.png": Image.fromarray(photograph(211, 57)),
        "wide.bmp": Image.fromarray(photograph(31, 300)),
        "tiny.png": Image.fromarray(photograph(3, 5)),
        "large.png": Image.fromarray(photograph(700, 1100)),
        "grey.png": Image.fromarray(photograph(60, 80, 1)[:, :, 0]),
        "transparent.png": Image.fromarray(photograph(66, 45, 4)),
        "grey-transparent.png": Image.fromarray(photograph(66, 45, 2)),
        "palette.png": palette,
        "palette.gif": palette,
        "bits.png": Image.fromarray(photograph(50, 50, 1)[:, :, 0]).convert("1"),
        "lossless.webp": Image.fromarray(photograph(80, 61)),
    }
    for name, image in made.items():
        image.save(folder / name, **({"lossless": True} if name.endswith(".webp") else {}))
    return {name: folder / name for name in made}


def assert_same(answer: dict[str, Any], expected: dict[str, float], tolerance: float, name: str) -> None:
    assert answer["answered"], (name, answer["state"])
    shown = {label: float(percent.removesuffix(" %")) for label, percent in answer["rows"]}
    best = sorted(expected, key=lambda label: -expected[label])
    assert next(iter(shown)) == best[0] or expected[best[0]] - expected[next(iter(shown))] < tolerance, name
    assert shown == pytest.approx(expected, abs=tolerance), name


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"crop": 0.875, "resize": "bicubic", "order": "bgr", "height": 40},
        {"channels": 1, "mean": (0.4,), "std": (0.3,), "resize": "bicubic"},
        {"scale": "0..255", "mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4), "crop": 0.9},
    ],
    ids=["plain", "crop, bicubic, bgr", "grey, bicubic", "0..255, crop"],
)
def test_every_kind_of_image_is_answered_as_python_does(
    make_artifact: Callable[..., Path],
    settings: dict[str, Any],
    web_runtime: Path,
    drive: Callable[..., dict[str, Any]],
    python_says: Callable[[Path, Path], dict[str, float]],
    tmp_path: Path,
) -> None:
    artifact = make_artifact(**settings)
    images = write_images(tmp_path / "images")
    with try_artifact(artifact) as address:
        said = drive(address, [("drop", file) for file in images.values()])
    assert re.fullmatch(r"Pass: \d parity vectors are answered as in training\.", said["check"])
    assert said["faults"] == []
    assert all(one.startswith(address.removesuffix("samples/browser/")) for one in said["asked"])
    for (name, file), answer in zip(images.items(), said["answers"], strict=True):
        assert_same(answer, python_says(artifact, file), ROUNDED, name)


def test_jpegs_within_what_two_decoders_differ_by_and_upright(
    make_artifact: Callable[..., Path],
    web_runtime: Path,
    drive: Callable[..., dict[str, Any]],
    python_says: Callable[[Path, Path], dict[str, float]],
    tmp_path: Path,
) -> None:
    artifact = make_artifact(crop=0.875)
    files = []
    for orientation in (None, 3, 6):
        exif = Image.Exif()
        if orientation:
            exif[0x0112] = orientation
        for mode in ("RGB", "L"):
            files.append(tmp_path / f"{mode}-{orientation}.jpg")
            Image.fromarray(photograph(120, 77)).convert(mode).save(files[-1], quality=85, exif=exif)
    with try_artifact(artifact) as address:
        said = drive(address, [("choose", file) for file in files])
    for file, answer in zip(files, said["answers"], strict=True):
        assert_same(answer, python_says(artifact, file), JPEG, file.name)
    assert "77 x 120" in said["answers"][0]["state"] and "120 x 77" in said["answers"][-1]["state"]


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", (390, 800)), ("dark", (1280, 900))], ids=["phone", "desk, dark"]
)
def test_chosen_or_dropped_or_by_keyboard_alone(
    scheme: str,
    size: tuple[int, int],
    make_artifact: Callable[..., Path],
    web_runtime: Path,
    drive: Callable[..., dict[str, Any]],
    python_says: Callable[[Path, Path], dict[str, float]],
    tmp_path: Path,
) -> None:
    artifact = make_artifact()
    image, other, broken = (tmp_path / name for name in ("image.png", "other.png", "broken.png"))
    Image.fromarray(photograph(50, 90)).save(image)
    Image.fromarray(photograph(90, 50)).save(other)
    broken.write_bytes(image.read_bytes()[:300])
    tries = [("keyboard", image), ("drop", other), ("choose", image), ("drop", broken)]
    with try_artifact(artifact) as address:
        said = drive(address, tries, size=size, scheme=scheme)
    for (how, file), answer in zip(tries[:3], said["answers"], strict=False):
        assert_same(answer, python_says(artifact, file), ROUNDED, how)
    assert not said["answers"][3]["answered"] and "broken.png cannot be tried" in said["answers"][3]["state"]
    assert not said["overflow"]
    assert said["violations"] == []


@pytest.mark.parametrize("mistake", KINDS["image"])
def test_the_page_finds_out_that_it_computes_something_else(
    make_artifact: Callable[..., Path], mistaken_page: Callable[[Path, str], str], mistake: str
) -> None:
    assert mistaken_page(make_artifact(), mistake).startswith("Fail: parity vector ")


def test_the_parity_vector_that_differs_is_named(
    make_artifact: Callable[..., Path], web_runtime: Path, drive: Callable[..., dict[str, Any]]
) -> None:
    artifact = make_artifact()
    files = trial._page_files() | trial._artifact_files(artifact) | trial._runtime_files(False, artifact)
    parity = json.loads(files["parity/parity.json"])
    parity["vectors"][2]["probabilities"][0] += 1.5 * parity["tolerance"]["probability"]
    with serving(files | {"parity/parity.json": json.dumps(parity).encode()}, start="samples/browser/") as address:
        said = drive(address)
    assert said["check"] == "Fail: parity vector 2: this computes something else than was tested."
    assert not said["trial"]


@pytest.mark.parametrize(
    ("kind", "answer"), [("image", "boxes"), ("sound", "classes"), ("tokens", "classes"), ("array", "outputs")]
)
def test_every_kind_of_input_and_answer_is_checked(
    kind: str, answer: str, web_runtime: Path, drive: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    artifact = HAND_MADE["write_artifact"](tmp_path / "artifact", kind, answer)
    good = trial._page_files() | trial._artifact_files(artifact) | trial._runtime_files(False, artifact)
    with serving(good, start="samples/browser/") as address:
        assert drive(address)["check"] == "Pass: 6 parity vectors are answered as in training."
    name = "parity/output0.npy" if answer == "outputs" else "labels.txt"
    turned = np.load(artifact / name)[::-1] if answer == "outputs" else HAND_MADE["LABELS"][::-1]
    if answer == "outputs":
        np.save(artifact / name, turned)
    else:
        (artifact / name).write_text("".join(f"{label}\n" for label in turned), encoding="utf-8")
    with serving(good | trial._artifact_files(artifact), start="samples/browser/") as address:
        assert drive(address)["check"].startswith("Fail: parity vector ")


def test_a_sound_is_answered(web_runtime: Path, drive: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    artifact = HAND_MADE["write_artifact"](tmp_path / "artifact", "sound", "classes")
    files = trial._page_files() | trial._artifact_files(artifact) | trial._runtime_files(False, artifact)
    raw = HAND_MADE["raw_inputs"]("sound")[4]
    with wave.open(str(tmp_path / "sound.wav"), "wb") as file:
        file.setparams((2, 2, HAND_MADE["RATE"], 0, "NONE", ""))
        file.writeframes(np.stack([raw * 32767] * 2, axis=1).round().astype("<i2").tobytes())
    with serving(files, start="samples/browser/") as address:
        said = drive(address, [("drop", tmp_path / "sound.wav")])
    vector = HAND_MADE["expected"](raw, "sound", "classes")
    expected = dict(zip(vector["labels"], (100 * share for share in vector["probabilities"]), strict=True))
    assert_same(said["answers"][0], expected, 0.1, "sound.wav")


def test_inputs_that_are_no_images_are_only_checked(
    web_runtime: Path, drive: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Gather", ["table", "input"], ["rows"]),
            onnx.helper.make_node("ReduceMean", ["rows"], ["logits"], axes=[1], keepdims=0),
        ],
        "lookup",
        [onnx.helper.make_tensor_value_info("input", onnx.TensorProto.INT64, [2, 4])],
        [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [2, 3])],
        [onnx.numpy_helper.from_array(table, "table")],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "m.onnx")
    how = Preprocessing(identity=True, input_shape=(4,), dtype="int64")
    artifact = HELPERS["package_model"](tmp_path, tmp_path / "m.onnx", how, ("a", "b", "c"))
    with try_artifact(artifact) as address:
        said = drive(address)
    assert said["check"].startswith("Pass: ")
    assert said["about"].startswith("Stored as fp32, made for raspberry-pi-4.")
    assert said["limits"].startswith("This page makes no input of such a model from a file")
    assert not said["trial"]


def test_boxes_are_listed_once_for_each_object(
    web_runtime: Path, drive: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Confidences 1 / (1 + exp(-x)): 0.88, 0.73, 0.82 and 0.27; the second box overlaps the first by 0.8, the third is
    of another class, and the fourth is below 0.4. The image is 70 / 32 as wide as the model's and 50 / 24 as high."""
    logits = np.array([[[2, -9], [1, -9], [-9, 1.5], [-1, -9]]], np.float32)
    boxes = np.array([[[2, 2, 12, 12], [2, 2, 10, 12], [2, 2, 12, 12], [20, 5, 30, 15]]], np.float32)
    nodes = [
        onnx.helper.make_node("ReduceSum", ["input", "axes"], ["sum"], keepdims=0),
        onnx.helper.make_node("Reshape", ["sum", "one"], ["each"]),
        onnx.helper.make_node("Mul", ["each", "zero"], ["nothing"]),
        onnx.helper.make_node("Add", ["nothing", "found"], ["logits"]),
        onnx.helper.make_node("Add", ["nothing", "places"], ["boxes"]),
    ]
    values = {"axes": np.array([1, 2, 3]), "one": np.array([-1, 1, 1]), "zero": np.zeros(1, np.float32)}
    tensors = {**values, "found": logits, "places": boxes}
    graph = onnx.helper.make_graph(
        nodes,
        "boxes",
        [onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["batch", 3, 24, 32])],
        [
            onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 4, 2]),
            onnx.helper.make_tensor_value_info("boxes", onnx.TensorProto.FLOAT, ["batch", 4, 4]),
        ],
        [onnx.numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "m.onnx")
    how = Preprocessing(height=24, width=32, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    artifact = HELPERS["package_model"](tmp_path, tmp_path / "m.onnx", how, ("cat", "dog"))
    Image.fromarray(photograph(50, 70)).save(tmp_path / "image.png")
    with try_artifact(artifact) as address:
        said = drive(address, [("drop", tmp_path / "image.png")])
    assert said["answers"][0]["rows"] == [
        ["cat", "88.08 %", "4.4, 4.2, 26.3, 25.0"],
        ["dog", "81.76 %", "4.4, 4.2, 26.3, 25.0"],
    ]


def test_an_int8_model_of_a_whole_run(
    finished_run: Path,
    stripes_folder: Path,
    web_runtime: Path,
    drive: Callable[..., dict[str, Any]],
    python_says: Callable[[Path, Path], dict[str, float]],
) -> None:
    """WebAssembly adds up signed eight-bit products without cutting them off, as older x86 does not: a few points."""
    artifact = finished_run / "artifact"
    files = sorted((stripes_folder / "test").rglob("*.png"))[::9]
    with try_artifact(artifact) as address:
        said = drive(address, [("drop", file) for file in files])
    assert said["check"].startswith("Pass:")
    for file, answer in zip(files, said["answers"], strict=True):
        assert_same(answer, python_says(artifact, file), 3.0, file.name)


def test_real_photographs(
    make_artifact: Callable[..., Path],
    web_runtime: Path,
    drive: Callable[..., dict[str, Any]],
    python_says: Callable[[Path, Path], dict[str, float]],
    tmp_path: Path,
) -> None:
    data = SHARED / "data"
    if not data.is_dir():
        pytest.skip("the shared photographs lie beside the checkout, and are not there")
    pixels = runpy.run_path(str(data / "load_packs.py"))["load"](data / "cifar10_test.npz")[0][:8]
    for at, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{at}.png")
    with tarfile.open(data / "bccd.tar") as archive:
        members = [member for member in archive if member.name.endswith(".jpg")][:8]
        archive.extractall(tmp_path, members, filter="data")
    files = [*sorted(tmp_path.glob("*.png")), *(tmp_path / member.name for member in members)]
    artifact = make_artifact(height=48, width=48, resize="bicubic")
    with try_artifact(artifact) as address:
        said = drive(address, [("drop", file) for file in files])
    for file, answer in zip(files, said["answers"], strict=True):
        assert_same(answer, python_says(artifact, file), ROUNDED if file.suffix == ".png" else JPEG, file.name)
