"""A build of ONNX Runtime that has the operators of one artifact alone: which these are, and the line that makes it."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgekd.artifact.runtimes.tools import runtime_tool

OPERATORS = "required_operators.config"
TYPES = "required_operators_and_types.config"
_LINE = (
    "./build.sh --config MinSizeRel --build_shared_lib --parallel --skip_tests --minimal_build --disable_ml_ops "
    f"--include_ops_by_config {TYPES} --enable_reduced_operator_type_support"
)
_ANDROID = (
    ' --android --android_abi arm64-v8a --android_sdk_path "$ANDROID_HOME" --android_ndk_path "$ANDROID_NDK_HOME"'
)
_LIBRARY_BYTES = {("1.23.0", True): 18_562_312, ("1.31.1", True): 25_265_040, ("1.31.1", False): 29_352_200}
"""Of libonnxruntime.so in the wheel of that version for Linux, by version and whether it is for Arm (AArch64) or for
x86-64."""


def write_operators(files: Sequence[Path], folder: Path) -> None:
    """Write which operators models in ONNX Runtime's own format have, and in a second file with which types too."""
    tool = runtime_tool("ort_format_model")
    for name, types in {OPERATORS: False, TYPES: True}.items():
        with tempfile.TemporaryDirectory(prefix="edgekd-operators-") as scratch:
            written = Path(scratch) / name
            tool.create_config_from_models(files, written, types)
            lines = written.read_text(encoding="utf-8").splitlines()
        lines = [line for line in lines if not line.startswith("#")]  # they name this machine's folders
        head = f"# Operators of {', '.join(path.name for path in files)}"
        (folder / name).write_text("".join(f"{line}\n" for line in (head, *lines)), encoding="utf-8")


def build_lines(version: str, *, arm: bool) -> dict[str, str]:
    """Return, by operating system, what builds a library of an artifact's operators alone.

    Typed in a clone of ONNX Runtime with the file of operators and types beside, for Linux on the device or one like
    it. The library loads no ONNX files, only those in its own format.
    """
    line = f"git checkout v{version} && git submodule update --init --recursive && {_LINE}"
    return {"Linux": line, **({"Android": line + _ANDROID} if arm else {})}


def library_kib(version: str, *, arm: bool) -> float | None:
    """Size of the library with every operator, None where that was not looked up for the version."""
    size = _LIBRARY_BYTES.get((version, arm))
    return round(size / 1024, 1) if size else None
