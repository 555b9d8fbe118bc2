"""What an app needs of ONNX Runtime for one `model.ort`: operators, the line that builds a runtime of them, sizes."""

import tempfile
from pathlib import Path

from edgekd.artifact.runtime_tools import runtime_tool
from edgekd.record import Record

OPERATORS = "required_operators.config"
TYPES = "required_operators_and_types.config"
_LINE = (
    "./build.sh --config MinSizeRel --build_shared_lib --parallel --skip_tests --minimal_build --disable_ml_ops "
    f"--include_ops_by_config {TYPES} --enable_reduced_operator_type_support"
)
_ANDROID = ' --android --android_abi arm64-v8a --android_sdk_path "$ANDROID_HOME" --android_ndk_path "$ANDROID_NDK_HOME"'
LIBRARY_KIB = {("1.23.0", True): 0.0, ("1.31.1", True): 0.0, ("1.31.1", False): 0.0}
"""Size of the library with every operator, as it lies in the wheel of that version for Linux, by version and whether
it is for Arm (AArch64) or for x86-64."""


class Sizes(Record):
    """What an app embeds, in KiB. `library_kib` is the runtime with every operator, None where that was not measured
    for the version."""

    model_kib: float
    library_kib: float | None

    @property
    def package_kib(self) -> float | None:
        """Model and library together, before the app's own compression."""
        return None if self.library_kib is None else round(self.model_kib + self.library_kib, 1)


def write_operators(ort: Path) -> None:
    """Write beside a model in ONNX Runtime's own format which operators it has, and which types each is used with."""
    tool = runtime_tool("ort_format_model")
    for name, types in {OPERATORS: False, TYPES: True}.items():
        with tempfile.TemporaryDirectory(prefix="edgekd-operators-") as scratch:
            written = Path(scratch) / name
            tool.create_config_from_models([ort], written, types)
            lines = written.read_text(encoding="utf-8").splitlines()
        lines = [line for line in lines if not line.startswith("#")]  # they hold this machine's paths
        text = "".join(f"{line}\n" for line in (f"# Operators of {ort.name}", *lines))
        (ort.parent / name).write_text(text, encoding="utf-8")


def build_lines(version: str, *, arm: bool) -> dict[str, str]:
    """Return, by operating system, what builds a runtime of a model's operators alone.

    It is typed in a checkout of ONNX Runtime at the tag of that version, with the config beside it; for Linux on the
    device or one like it. The runtime that it makes loads no ONNX files, and takes model.ort as it is.
    """
    prefix = f"git checkout v{version} && "
    return {"Linux": prefix + _LINE, **({"Android": prefix + _LINE + _ANDROID} if arm else {})}
