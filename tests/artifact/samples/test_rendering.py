"""What is written into samples/, and what never is."""

import hashlib
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgekd.artifact.samples.programs import PAGE, TEMPLATES, plain
from edgekd.errors import BadInput

hand_made = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("hand_made.py"))))
KINDS = ("image", "sound", "tokens", "array")
MADE = [(kind, answer) for kind in KINDS for answer in ("classes", "outputs")] + [("image", "boxes")]
OPTIONS = {
    **{"threads": 4, "arena": False, "memory_pattern": False, "prepacking": False},
    "session.use_memory_mapped_ort_model": "1",
}


def texts(artifact: Path) -> dict[str, str]:
    folder = artifact / "samples"
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "onnxruntime" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}


@pytest.mark.parametrize(("kind", "answer"), MADE)
def test_programs_hold_nothing_of_a_strangers_and_nothing_of_a_template(kind: str, answer: str, tmp_path: Path) -> None:
    written = texts(hand_made.write_artifact(tmp_path / "artifact", kind, answer, session=OPTIONS))
    assert {name.split("/")[0] for name in written} == {"python", "node", "browser", "cpp", "android", "ios"}
    for name, text in written.items():
        assert not any(label in text for label in hand_made.LABELS), name
        assert "{%" not in text and "{{ " not in text and " }}" not in text, name
        assert "\n\n\n\n" not in text and not text.startswith("\n") and text.endswith("\n"), name
    compile(written["python/predict.py"], "predict.py", "exec")
    assert json.loads(written["node/package.json"])["type"] == "module"


def test_the_session_that_was_found_best_is_in_them(tmp_path: Path) -> None:
    written = texts(hand_made.write_artifact(tmp_path / "artifact", "image", "classes", session=OPTIONS))
    lines = {
        "python/predict.py": [
            "options.intra_op_num_threads = 4",
            "options.enable_cpu_mem_arena = False",
            "options.enable_mem_pattern = False",
            'options.add_session_config_entry("session.disable_prepacking", "1")',
            'options.add_session_config_entry("session.use_memory_mapped_ort_model", "1")',
        ],
        "cpp/predict.cpp": [
            "options.SetIntraOpNumThreads(4);",
            "options.DisableCpuMemArena();",
            "options.DisableMemPattern();",
            'options.AddConfigEntry("session.disable_prepacking", "1");',
            'options.AddConfigEntry("session.use_memory_mapped_ort_model", "1");',
        ],
        "node/predict.mjs": [
            "intraOpNumThreads: 4,",
            "enableCpuMemArena: false,",
            "enableMemPattern: false,",
            'disable_prepacking: "1",',
            'use_memory_mapped_ort_model: "1",',
        ],
        "android/Predictor.kt": [
            "setIntraOpNumThreads(4)",
            "setCPUArenaAllocator(false)",
            "setMemoryPatternOptimization(false)",
            'addConfigEntry("session.disable_prepacking", "1")',
        ],
        "ios/Predictor.swift": [
            "try options.setIntraOpNumThreads(4)",
            'try options.addConfigEntry(withKey: "session.disable_prepacking", value: "1")',
        ],
    }
    for name, wanted in lines.items():
        stripped = [line.strip() for line in written[name].splitlines()]
        assert set(wanted) <= set(stripped), name


def test_the_usual_session_sets_threads_alone(tmp_path: Path) -> None:
    written = texts(hand_made.write_artifact(tmp_path / "artifact", "sound", "classes"))
    for name in ("python/predict.py", "cpp/predict.cpp", "android/Predictor.kt"):
        assert not any(word in written[name].lower() for word in ("arena", "pattern", "configentry", "config_entry"))


def test_a_graph_in_the_runtimes_own_format_is_run_where_that_was_chosen(tmp_path: Path) -> None:
    artifact = tmp_path / "artifact"
    hand_made.write_artifact(artifact, "image", "classes", session={"file": "model.ort"})
    assert '"app.onnx"' in texts(artifact)["python/predict.py"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "app.ort").write_bytes(b"")
    hand_made.write_artifact(other, "image", "classes", session={"file": "model.ort"})
    assert '"app.ort"' in texts(other)["cpp/predict.cpp"]


def test_weights_in_a_file_of_their_own_are_not_for_android(tmp_path: Path) -> None:
    """Its assets are read as bytes, beside which there is no file."""
    (tmp_path / "app.mapped.onnx").write_bytes(b"")
    hand_made.write_artifact(tmp_path, "image", "classes", session={"file": "model.mapped.onnx"})
    written = texts(tmp_path)
    assert '"app.mapped.onnx"' in written["python/predict.py"] and '"app.onnx"' in written["android/Predictor.kt"]


@pytest.mark.parametrize("hostile", ['"); evil(); ("', "${x}", "a\nb", "</script>", "back\\slash", "é", "`x`"])
def test_an_option_that_would_break_out_of_its_quotes_is_refused(hostile: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is no session option that could be written into a program"):
        plain(hostile)
    with pytest.raises(BadInput):
        hand_made.write_artifact(tmp_path / "artifact", "image", "classes", session={"session.x": hostile})


def test_the_page_of_the_artifact_is_the_one_that_is_tried(tmp_path: Path) -> None:
    artifact = hand_made.write_artifact(tmp_path / "artifact", "image", "classes")
    for path in PAGE.iterdir():
        assert (artifact / "samples" / "browser" / path.name).read_bytes() == path.read_bytes()


def test_the_headers_of_onnx_runtime_are_those_that_were_released() -> None:
    folder = TEMPLATES / "cpp" / "onnxruntime"
    listed = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert set(listed) == {path.name for path in folder.iterdir()} - {"SHA256SUMS", "README.md"}
    for name, sha in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha, name
    [version] = [
        line for line in (folder / "onnxruntime_c_api.h").read_text().splitlines() if "define ORT_API_V" in line
    ]
    assert int(version.split()[-1]) <= 23
    assert "MIT License" in (folder / "LICENSE").read_text()
