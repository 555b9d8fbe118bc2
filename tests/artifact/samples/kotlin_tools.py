"""The Kotlin compiler, ONNX Runtime for the JVM and JSON as Android has it, fetched once by Maven into the user's cache."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgekd.resources import cache_folder
from edgekd.workspace import fingerprint

PACKAGES = {
    "org.jetbrains.kotlin:kotlin-compiler-embeddable": "2.0.21",
    "com.microsoft.onnxruntime:onnxruntime": "1.23.0",
    "org.json:json": "20240303",
}
_LIMIT_SECONDS = 900
_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>none</groupId><artifactId>none</artifactId><version>1</version>
<dependencies>{}</dependencies></project>
"""
_DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"


def kotlin_tools() -> str:
    """Return a class path with `PACKAGES`. Skips the test where Maven or Java is missing or nothing can be fetched;
    fails it in CI."""
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    if missing:
        _cannot(f"no {' and no '.join(missing)} here")
    folder = cache_folder() / "tests" / f"kotlin-{fingerprint(PACKAGES)[:12]}"
    if not folder.is_dir():
        _fetch(folder)
    return os.pathsep.join(map(str, sorted(folder.glob("*.jar"))))


def _fetch(folder: Path) -> None:
    """Into a folder beside it, and rename: a second process that does the same finds it there."""
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    named = (_DEPENDENCY.format(*name.split(":"), version) for name, version in PACKAGES.items())
    (partial / "pom.xml").write_text(_POM.format("".join(named)))
    command = ["mvn", "--batch-mode", "--quiet", "dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
    try:
        done = subprocess.run(
            command, cwd=partial, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_LIMIT_SECONDS
        )
        if done.returncode:
            _cannot(f"mvn fails: {(done.stdout + done.stderr).strip()[:300]}")
        if not folder.is_dir():
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _cannot(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"the Kotlin sample is not tested, in CI: {reason}")
    pytest.skip(f"the Kotlin sample is not tested: {reason}")
