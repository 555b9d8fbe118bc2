"""The artifact's graphs in the runtimes' own formats, and what an app needs of ONNX Runtime to run them."""

import logging
from pathlib import Path

import numpy as np

from edgekd.artifact.mobile import Usability, mobile_usability
from edgekd.artifact.openvino_ir import IR_FILES, write_ir
from edgekd.artifact.ort_format import compare_on, write_ort
from edgekd.artifact.reduced_build import OPERATORS, TYPES, build_lines, library_kib, write_operators
from edgekd.device import DeviceProfile
from edgekd.emulated_figures import EmulatedCore, core_for
from edgekd.errors import BadInput, EdgekdError
from edgekd.numerics import is_arm
from edgekd.record import Record
from edgekd.results import Candidate
from edgekd.runtimes import RUNTIMES

log = logging.getLogger(__name__)

GRAPHS = {"model.onnx": "input.npy", "app.onnx": "raw0.npy"}
"""Graph to the file in `parity/` that it is fed from."""


class RuntimeFiles(Record):
    """What was written beside the ONNX files.

    `sizes_kib` is what an app embeds: each graph in ONNX Runtime's own format, and that runtime's library with every
    operator as the wheel for Linux has it, where that is known for the version. What a library of these operators alone
    weighs is not known before it is built. `mobile` is what ONNX Runtime's check of model.onnx says, whatever the
    device. `tried_on` is where files in ONNX Runtime's own format gave what the ONNX files give, beside this machine.
    `left_out` says what could not be written, and why.
    """

    instruction_set: str
    version: str
    """ONNX Runtime on the device."""
    written_by: str
    """ONNX Runtime that wrote them, and with which they were tried here."""
    tried_on: str
    files: tuple[str, ...]
    sizes_kib: dict[str, float]
    build: dict[str, str]
    """Operating system to the line that builds a library of the graphs' operators alone."""
    mobile: tuple[Usability, ...]
    left_out: tuple[str, ...]


def write_runtime_files(
    folder: Path, *, profile: DeviceProfile, chosen: Candidate, emulate: bool = False
) -> RuntimeFiles:
    """Write them for the artifact in `folder`, which holds its graphs and its parity vectors.

    With `emulate`, what the device's own version of ONNX Runtime does not run as the ONNX file on the emulated core is
    left out. It raises what `edgekd.emulated_figures.core_for` does.
    """
    arm, version = is_arm(profile.isa), profile.runtimes["onnxruntime"].version
    left_out = list[str]()
    core = core_for(profile) if emulate else None
    found = _own_formats(folder, profile, core, left_out)
    if found:
        write_operators(found, folder)
    try:
        mobile = mobile_usability(folder / "model.onnx")
    except BadInput as error:
        mobile = ()
        left_out.append(str(error))
    without_ir = write_ir(folder / "model.onnx", folder, profile=profile, chosen=chosen)
    left_out += [without_ir] if without_ir else []
    for line in left_out:
        log.info("%s", line)
    sizes = {path.name: round(path.stat().st_size / 1024, 1) for path in found}
    library = library_kib(version, arm=arm)
    written = [*sizes, *((OPERATORS, TYPES) if found else ()), *IR_FILES]
    return RuntimeFiles(
        instruction_set="AArch64" if arm else "x86-64",
        version=version,
        written_by=RUNTIMES["onnxruntime"].version(),
        tried_on=core.place if core and found else "",
        files=tuple(name for name in written if (folder / name).is_file()),
        sizes_kib={**sizes, **({"libonnxruntime.so": library} if found and library else {})},
        build=build_lines(version, arm=arm) if found else {},
        mobile=mobile,
        left_out=tuple(left_out),
    )


def _own_formats(folder: Path, profile: DeviceProfile, core: EmulatedCore | None, left_out: list[str]) -> list[Path]:
    found = []
    for name, vectors in GRAPHS.items():
        graph, own = folder / name, (folder / name).with_suffix(".ort")
        if not graph.is_file():
            continue
        given = np.load(folder / "parity" / vectors, allow_pickle=False)
        given = given[:1] if name == "model.onnx" else given
        try:
            write_ort(graph, own, profile=profile, given=given)
            if core:
                compare_on(core, graph, own, given)
            found.append(own)
        except EdgekdError as error:
            own.unlink(missing_ok=True)
            left_out.append(str(error))
    return found
