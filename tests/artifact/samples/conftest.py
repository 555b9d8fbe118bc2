"""Run the samples of an artifact, each in its language, as somebody does who copied it out."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def needs(program: str) -> str:
    """Path of a program. Skips the test where there is none; fails it in CI."""
    found = shutil.which(program)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"no {program} in CI")
    return found or pytest.skip(f"no {program} here")


def library() -> Path:
    """ONNX Runtime's own library, out of the installed package."""
    import onnxruntime

    found = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
    return found[0] if found else pytest.skip("the installed onnxruntime brings no library to link against")


def call(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, words)), cwd=folder, capture_output=True, text=True, timeout=300, check=False, encoding="utf-8"
    )


@pytest.fixture(params=["python", "node", "cpp"])
def language(request: pytest.FixtureRequest) -> str:
    """Each language of which samples run here."""
    name: str = request.param
    return name


@pytest.fixture
def copy_out(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Run]:
    """`copy_out(language, artifact, **changes)`: a function that runs the sample, copied out of the artifact, with
    these arguments after the artifact. `changes` are texts in its main program that are replaced first."""

    def copied(language: str, artifact: Path, changes: dict[str, str] | None = None) -> Run:
        folder = tmp_path / f"{language} für mich"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(artifact / "samples" / language, folder)
        program = folder / {"python": "predict.py", "node": "predict.mjs", "cpp": "predict.cpp"}[language]
        text = program.read_text(encoding="utf-8")
        for old, new in (changes or {}).items():
            assert text.count(old) == 1, (old, text)
            text = text.replace(old, new)
        program.write_text(text, encoding="utf-8")
        words: list[object] = [sys.executable, program.name]
        if language == "node":
            words = [needs("node"), program.name]
            (folder / "node_modules").symlink_to(request.getfixturevalue("node_modules"))
        elif language == "cpp":
            words = [_built(folder)]
        return lambda *arguments: call(*words, artifact, *arguments, folder=folder)

    return copied


def _built(folder: Path) -> Path:
    """The C++ sample, compiled without a warning against a link of the name that the library says that it has."""
    cmake, linked = needs("cmake"), folder / "libonnxruntime.so.1"
    needs("g++")
    linked.symlink_to(library())
    flags = "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Werror"
    for words in (
        (cmake, "-B", "build", f"-DONNXRUNTIME={linked}", "-DCMAKE_BUILD_TYPE=Debug", flags),
        (cmake, "--build", "build"),
    ):
        done = call(*words, folder=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build" / "predict"
