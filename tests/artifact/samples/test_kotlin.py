"""The sample for Android compiles, against stand-ins for the classes of ONNX Runtime and Android that it uses.

The stand-ins have the signatures of ONNX Runtime's Java API (1.23) and of Android's (API 34), and do nothing.
"""

import os
import runpy
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

hand_made = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("hand_made.py"))))

pytestmark = pytest.mark.slow

STAND_INS = {
    "ai/onnxruntime/OrtException": "public class OrtException extends Exception {}",
    "ai/onnxruntime/OnnxJavaType": "public enum OnnxJavaType { FLOAT, INT64, UINT8 }",
    "ai/onnxruntime/OnnxValue": "public interface OnnxValue extends AutoCloseable { @Override void close(); }",
    "ai/onnxruntime/OnnxTensorLike": "public abstract class OnnxTensorLike implements OnnxValue {}",
    "ai/onnxruntime/OnnxTensor": """
        import java.nio.*;
        public class OnnxTensor extends OnnxTensorLike {
            public static OnnxTensor createTensor(OrtEnvironment env, ByteBuffer data, long[] shape, OnnxJavaType type)
                throws OrtException { return null; }
            public static OnnxTensor createTensor(OrtEnvironment env, FloatBuffer data, long[] shape)
                throws OrtException { return null; }
            public static OnnxTensor createTensor(OrtEnvironment env, LongBuffer data, long[] shape)
                throws OrtException { return null; }
            public FloatBuffer getFloatBuffer() { return null; }
            public LongBuffer getLongBuffer() { return null; }
            @Override public void close() {}
        }""",
    "ai/onnxruntime/OrtEnvironment": """
        public final class OrtEnvironment implements AutoCloseable {
            public static OrtEnvironment getEnvironment() { return null; }
            public OrtSession createSession(byte[] model, OrtSession.SessionOptions options) throws OrtException {
                return null;
            }
            @Override public void close() {}
        }""",
    "ai/onnxruntime/OrtSession": """
        import java.util.*;
        public class OrtSession implements AutoCloseable {
            public Result run(Map<String, ? extends OnnxTensorLike> inputs) throws OrtException { return null; }
            @Override public void close() throws OrtException {}
            public static class SessionOptions implements AutoCloseable {
                public void setIntraOpNumThreads(int threads) throws OrtException {}
                public void setCPUArenaAllocator(boolean use) throws OrtException {}
                public void setMemoryPatternOptimization(boolean use) throws OrtException {}
                public void addConfigEntry(String key, String value) throws OrtException {}
                @Override public void close() {}
            }
            public static class Result implements AutoCloseable {
                public Optional<OnnxValue> get(String name) { return null; }
                public OnnxValue get(int index) { return null; }
                @Override public void close() {}
            }
        }""",
    "android/graphics/Bitmap": """
        public final class Bitmap {
            public enum Config { ALPHA_8, RGB_565, ARGB_4444, ARGB_8888, RGBA_F16, HARDWARE }
            public static Bitmap createBitmap(int[] colors, int width, int height, Config config) { return null; }
            public int getWidth() { return 0; }
            public int getHeight() { return 0; }
            public void getPixels(int[] pixels, int offset, int stride, int x, int y, int width, int height) {}
        }""",
    "org/json/JSONException": "public class JSONException extends Exception {}",
    "org/json/JSONArray": """
        public class JSONArray {
            public int length() { return 0; }
            public int getInt(int at) throws JSONException { return 0; }
            public double getDouble(int at) throws JSONException { return 0; }
            public String getString(int at) throws JSONException { return null; }
            public JSONArray getJSONArray(int at) throws JSONException { return null; }
            public JSONObject getJSONObject(int at) throws JSONException { return null; }
        }""",
    "org/json/JSONObject": """
        public class JSONObject {
            public JSONObject(String text) throws JSONException {}
            public double getDouble(String name) throws JSONException { return 0; }
            public JSONArray getJSONArray(String name) throws JSONException { return null; }
            public JSONObject getJSONObject(String name) throws JSONException { return null; }
        }""",
}


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the compiled stand-ins."""
    missing = [program for program in ("javac", "kotlinc") if shutil.which(program) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"no {' and no '.join(missing)} in CI")
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} here")
    folder = tmp_path_factory.mktemp("stand-ins")
    for name, text in STAND_INS.items():
        path = folder / f"{name}.java"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"package {name.rsplit('/', 1)[0].replace('/', '.')};\n{text}\n")
    subprocess.run(["javac", *map(str, folder.rglob("*.java"))], check=True, timeout=300)
    return folder


def _standard_library() -> list[Path]:
    """The part that closes resources, in a file of its own before Kotlin 1.8."""
    home = Path(shutil.which("kotlinc") or "").resolve().parents[1]
    return sorted(home.rglob("kotlin-stdlib-jdk7.jar"))


@pytest.mark.parametrize(
    ("kind", "answer", "channels"),
    [
        ("image", "classes", 3),
        ("image", "boxes", 1),
        ("image", "outputs", 1),
        ("sound", "classes", 3),
        ("tokens", "classes", 3),
        ("array", "outputs", 3),
    ],
)
def test_it_compiles_without_a_warning(kind: str, answer: str, channels: int, stand_ins: Path, tmp_path: Path) -> None:
    options = {"threads": 2, "arena": False, "memory_pattern": False, "prepacking": False}
    artifact = hand_made.write_artifact(tmp_path / "artifact", kind, answer, channels=channels, session=options)
    sample = artifact / "samples" / "android" / "Predictor.kt"
    classes = os.pathsep.join([str(stand_ins), *map(str, _standard_library())])
    command = ["kotlinc", str(sample), "-Werror", "-classpath", classes, "-d", str(tmp_path / "classes")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    said = [line for line in done.stderr.splitlines() if "Predictor.kt" in line or line.startswith("error")]
    assert done.returncode == 0, "\n".join(said) or done.stderr
    assert (tmp_path / "classes" / "edgekd" / "Predictor.class").is_file()
