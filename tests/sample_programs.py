"""Run the samples of an artifact, each in its language, as somebody does who copied it out."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
OF_SOUNDS, OF_IDS, OF_LABELS = "16-bit samples as they are", "ids shifted by one", "labels shuffled"
KINDS = {
    "image": ("channels reversed", "not scaled", OF_LABELS),
    "sound": (OF_SOUNDS, OF_LABELS),
    "tokens": (OF_IDS, OF_LABELS),
}
"""What an app may do wrongly, by what it has."""
PROGRAMS = {"python": "predict.py", "node": "predict.mjs", "cpp": "predict.cpp"}
"""Language to the sample's main program."""
_TENSOR = "new ort.Tensor(type, data, shape)"
_SHAPE = "std::vector<std::int64_t> shape = raw.shape;"
MISTAKES = {
    "python": {
        "channels reversed": ('image.convert("RGB"))', 'image.convert("RGB"))[:, :, ::-1].copy()'),
        "not scaled": ('{"image": raw}', '{"image": raw // 255}'),
        OF_SOUNDS: ('{"samples": raw}', '{"samples": raw * 32768}'),
        OF_IDS: ('{"ids": raw}', '{"ids": raw - 1}'),
        OF_LABELS: (
            "    session = open_session",
            "    labels.append(labels.pop(0))\n    session = open_session",
        ),
    },
    "node": {
        "channels reversed": (
            'return { type: "uint8", data, shape: [height, width, 3] };',
            'return { type: "uint8", data: data.map((_, i) => data[i + 2 - 2 * (i % 3)]), shape: [height, width, 3] };',
        ),
        "not scaled": (_TENSOR, _TENSOR.replace("data", "data.map((x) => x / 255)")),
        OF_SOUNDS: (_TENSOR, _TENSOR.replace("data", "data.map((x) => x * 32768)")),
        OF_IDS: (_TENSOR, _TENSOR.replace("data", "data.map((id) => id - 1n)")),
        OF_LABELS: (".slice(0, -1);", ".slice(0, -1).map((_, i, all) => all[(i + 1) % all.length]);"),
    },
    "cpp": {
        "channels reversed": (
            _SHAPE,
            f"{_SHAPE} for (auto at = raw.values.begin(); at < raw.values.end(); at += 3) std::swap(at[0], at[2]);",
        ),
        "not scaled": (_SHAPE, f"{_SHAPE} for (auto& one : raw.values) one /= 255;"),
        OF_SOUNDS: (_SHAPE, f"{_SHAPE} for (auto& one : raw.values) one *= 32768;"),
        OF_IDS: (_SHAPE, f"{_SHAPE} for (auto& one : raw.values) one -= 1;"),
        OF_LABELS: (
            "  const Ort::Env env(",
            "  std::rotate(labels.begin(), labels.begin() + 1, labels.end());\n  const Ort::Env env(",
        ),
    },
}
"""How it does so, by language: a text in the sample's main program, and what it becomes."""
_PAGE_TENSOR = "new ort.Tensor(type, data,"
PAGE_MISTAKES = {
    "channels reversed": ("decode.js", "= [red, green, blue];\n  }", "= [blue, green, red];\n  }"),
    "not scaled": ("model.js", _PAGE_TENSOR, _PAGE_TENSOR.replace("data", "data.map((level) => level / 255)")),
    OF_SOUNDS: ("model.js", _PAGE_TENSOR, _PAGE_TENSOR.replace("data", "data.map((one) => one * 32768)")),
    OF_IDS: ("model.js", _PAGE_TENSOR, _PAGE_TENSOR.replace("data", "data.map((id) => id - 1n)")),
    OF_LABELS: (
        "page.js",
        "slice(0, -1) : []",
        "slice(0, -1).map((_, i, all) => all[(i + 1) % all.length]) : []",
    ),
}
"""The same of the page: script, text, and what it becomes."""


def needs(program: str) -> str:
    """Path of a program. Skips the test where there is none; fails it in CI."""
    found = shutil.which(program)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"no {program} in CI")
    return found or pytest.skip(f"no {program} here")


def copied_out(artifact: Path, folder: Path, node_modules: Path, changes: Mapping[str, str]) -> Run:
    """Copy one language's sample into `folder`, whose name is the language; return what runs it with these arguments
    after the artifact.

    Args:
        node_modules: packages for Node.js.
        changes: texts in the main program that are replaced first.
    """
    shutil.copytree(artifact / "samples" / folder.name, folder)
    program = folder / PROGRAMS[folder.name]
    text = program.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert text.count(old) == 1, (old, text)
        text = text.replace(old, new)
    program.write_text(text, encoding="utf-8")
    words: list[object] = [sys.executable, program.name]
    if folder.name == "node":
        words = [needs("node"), program.name]
        (folder / "node_modules").symlink_to(node_modules)
    elif folder.name == "cpp":
        words = [_built(folder)]
    return lambda *arguments: _call(*words, artifact, *arguments, folder=folder)


def _built(folder: Path) -> Path:
    """The C++ sample, compiled without a warning against a link of the name that the library says that it has."""
    cmake, linked = needs("cmake"), folder / "libonnxruntime.so.1"
    needs("g++")
    linked.symlink_to(_library())
    flags = "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Werror"
    for words in (
        (cmake, "-B", "build", f"-DONNXRUNTIME={linked}", "-DCMAKE_BUILD_TYPE=Debug", flags),
        (cmake, "--build", "build"),
    ):
        done = _call(*words, folder=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build" / "predict"


def _library() -> Path:
    """ONNX Runtime's own library, out of the installed package."""
    import onnxruntime

    found = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
    return found[0] if found else pytest.skip("the installed onnxruntime brings no library to link against")


def _call(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, words)), cwd=folder, capture_output=True, text=True, timeout=300, check=False, encoding="utf-8"
    )
