"""The sample for Android, compiled against ONNX Runtime's own classes and a stand-in for Android's, and run on the JVM."""

import runpy
import subprocess
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from onnx import numpy_helper

HERE = Path(__file__).parent
hand_made = SimpleNamespace(**runpy.run_path(str(HERE / "hand_made.py")))
tools = SimpleNamespace(**runpy.run_path(str(HERE / "kotlin_tools.py")))

pytestmark = pytest.mark.slow

BITMAP = """
package android.graphics

class Bitmap private constructor(private val pixels: IntArray, val width: Int, val height: Int) {
    enum class Config { ARGB_8888 }

    fun getPixels(into: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int) {
        require(offset == 0 && stride == width && x == 0 && y == 0 && width == this.width && height == this.height)
        pixels.copyInto(into)
    }

    companion object {
        fun createBitmap(colors: IntArray, width: Int, height: Int, config: Config) = Bitmap(colors, width, height)
    }
}
"""
MAIN = """
import edgekd.Predictor
import java.io.File

fun main(words: Array<String>) {
    for (folder in words) {
        try {
            Predictor { File(folder, it).inputStream() }.close()
            println("answers as in training")
        } catch (error: IllegalStateException) {
            println(error.message)
        }
    }
}
"""


def compiled(artifact: Path, folder: Path, classes: str) -> Path:
    folder.mkdir()
    (folder / "Bitmap.kt").write_text(BITMAP)
    (folder / "Main.kt").write_text(MAIN)
    sample = folder / "Predictor.kt"
    sample.write_bytes((artifact / "samples" / "android" / "Predictor.kt").read_bytes())
    command = ["java", "-Xmx1g", "-cp", classes, "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"]
    command += ["-no-stdlib", "-no-reflect", "-Werror", "-classpath", classes, "-d", str(folder / "out.jar")]
    command += [str(path) for path in sorted(folder.glob("*.kt"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out.jar"


def turned(model: onnx.ModelProto) -> None:
    name = (
        "table" if any(one.op_type == "Gather" and one.input[0] == "table" for one in model.graph.node) else "weights"
    )
    tensor = next(one for one in model.graph.initializer if one.name == name)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1].copy(), name))


@pytest.mark.parametrize(
    ("kind", "answer", "channels"),
    [
        ("image", "classes", 3),
        ("image", "boxes", 3),
        ("image", "outputs", 1),
        ("sound", "classes", 3),
        ("tokens", "classes", 3),
        ("array", "outputs", 3),
    ],
)
def test_it_compiles_and_checks_itself(kind: str, answer: str, channels: int, tmp_path: Path) -> None:
    classes = tools.kotlin_tools()
    session = {"threads": 2, "arena": False, "memory_pattern": False, "prepacking": False}
    settings = {"channels": channels, "session": session}
    good = hand_made.write_artifact(tmp_path / "good", kind, answer, **settings)
    folders = [good]
    if kind != "sound" and channels == 3:
        folders.append(hand_made.write_artifact(tmp_path / "turned", kind, answer, spoil=turned, **settings))
    if answer != "outputs":
        labels = hand_made.LABELS[::-1]
        folders.append(hand_made.write_artifact(tmp_path / "labels", kind, answer, labels=labels, **settings))
    jar = compiled(good, tmp_path / "app", classes)
    command = ["java", "-cp", f"{jar}:{classes}", "MainKt", *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    first, *others = done.stdout.splitlines()
    assert first == "answers as in training"
    assert len(others) == len(folders) - 1
    assert all(line.endswith("this computes something else than was tested") for line in others)
