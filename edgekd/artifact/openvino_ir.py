"""OpenVINO's own format: model.xml and model.bin, for devices that have this runtime."""

import re
from pathlib import Path

from edgekd.benchmark_program import import_runtime
from edgekd.device import DeviceProfile
from edgekd.errors import BadInput
from edgekd.results import Candidate
from edgekd.runtimes import RUNTIMES, in_one_line
from edgekd.schemes.offered import PRECISION

IR_FILES = ("model.xml", "model.bin")


def write_ir(model: Path, folder: Path, *, profile: DeviceProfile, chosen: Candidate) -> str:
    """Write an ONNX file as OpenVINO reads it, the same bytes for the same model; return why not, or nothing.

    Weights are kept as they are, unless the candidate is run by OpenVINO in float16: then they are stored so. A device
    without OpenVINO gets none, and no reason.
    """
    runtime = RUNTIMES["openvino"]
    if runtime.name not in profile.runtimes:
        return ""
    if not runtime.available():
        return f"no OpenVINO IR, for OpenVINO is not installed here; {runtime.install} brings it"
    try:
        _write(model, folder, halved=chosen.runtime == runtime.name and chosen.session.get(PRECISION) == "f16")
    except Exception as error:  # whatever the runtime raises
        for name in IR_FILES:
            (folder / name).unlink(missing_ok=True)
        return f"no OpenVINO IR: OpenVINO {runtime.version()} does not convert the model: {in_one_line(str(error))}"
    return ""


def _write(model: Path, folder: Path, *, halved: bool) -> None:
    openvino = import_runtime("openvino")
    xml = folder / IR_FILES[0]
    openvino.save_model(openvino.Core().read_model(model), xml, compress_to_fp16=halved)
