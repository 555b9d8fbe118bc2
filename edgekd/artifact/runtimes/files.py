"""The artifact's graphs in the runtimes' own formats, and what an app needs of ONNX Runtime to run them."""

import logging
from pathlib import Path

import numpy as np

from edgekd.artifact.runtimes.mobile import Usability, mobile_usability
from edgekd.artifact.runtimes.openvino_ir import IR_FILES, write_ir
from edgekd.artifact.runtimes.ort_format import MAPPED_FILE, ORT_FILE, WRITE, compare_on
from edgekd.artifact.runtimes.reduced_build import OPERATORS, TYPES, build_lines, library_kib, write_operators
from edgekd.device import HOST, DeviceProfile
from edgekd.emulated_figures import EmulatedCore, core_for
from edgekd.errors import BadInput, EdgekdError
from edgekd.external_data import data_file, size_kib
from edgekd.numerics import is_arm
from edgekd.record import Record
from edgekd.results import Candidate
from edgekd.runtimes import RUNTIMES

log = logging.getLogger(__name__)

GRAPHS = {"model.onnx": "input.npy", "app.onnx": "raw0.npy"}
"""Graph to the file in `parity/` that it is fed from."""


class RuntimeFiles(Record):
    """What was written beside the ONNX files.

    `sizes_kib` is what an app embeds: each graph as ONNX Runtime optimised it, with weights beside it, and that
    runtime's library with every operator as the wheel for Linux has it, where that is known for the version. What a
    library of these operators alone weighs is not known before it is built. `mobile` is what ONNX Runtime's check of
    model.onnx says, whatever the device. `tried_on` is where files that ONNX Runtime optimised gave what the ONNX files
    give, beside this machine.
    `left_out` says what could not be written, and why.
    """

    instruction_set: str
    """What the files are optimised for."""
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
    names = (ORT_FILE, *({MAPPED_FILE} & {chosen.session.get("file")}))
    written = [path for name in names for path in _optimised(folder, name, profile, core, left_out)]
    found = [path for path in written if path.suffix == ".ort"]
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
    sizes = {path.name: size_kib(path) for path in written}
    library = library_kib(version, arm=arm)
    beside = [data_file(path).name for path in written]
    possible = [*sizes, *beside, *((OPERATORS, TYPES) if found else ()), *IR_FILES]
    return RuntimeFiles(
        instruction_set="this machine alone" if profile.name == HOST else "AArch64" if arm else "x86-64",
        version=version,
        written_by=RUNTIMES["onnxruntime"].version(),
        tried_on=core.place if core and written else "",
        files=tuple(name for name in possible if (folder / name).is_file()),
        sizes_kib={**sizes, **({"libonnxruntime.so": library} if found and library else {})},
        build=build_lines(version, arm=arm) if found else {},
        mobile=mobile,
        left_out=tuple(left_out),
    )


def _optimised(
    folder: Path, model_file: str, profile: DeviceProfile, core: EmulatedCore | None, left_out: list[str]
) -> list[Path]:
    """Write one kind of file, `model_file` for model.onnx, of each graph; return what was written."""
    found = []
    for name, vectors in GRAPHS.items():
        graph, own = folder / name, folder / model_file.replace("model", Path(name).stem, 1)
        if not graph.is_file():
            continue
        given = np.load(folder / "parity" / vectors, allow_pickle=False)
        given = given[:1] if name == "model.onnx" else given
        try:
            WRITE[model_file](graph, own, profile=profile, given=given)
            if core:
                compare_on(core, graph, own, given)
            found.append(own)
        except EdgekdError as error:
            own.unlink(missing_ok=True)
            data_file(own).unlink(missing_ok=True)
            left_out.append(str(error))
    return found
