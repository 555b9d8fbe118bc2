"""OpenVINO's own format: model.xml and model.bin, for devices that have this runtime."""

from pathlib import Path

from edgekd.benchmark_program import import_runtime
from edgekd.device import DeviceProfile
from edgekd.results import Candidate
from edgekd.runtimes import RUNTIMES, in_one_line
from edgekd.schemes.offered import PRECISION

IR_FILES = ("model.xml", "model.bin")


def write_ir(model: Path, folder: Path, *, profile: DeviceProfile, chosen: Candidate) -> str:
    """Write an ONNX file as OpenVINO reads it, the same bytes for the same model; return why not, or nothing.

    Weights are kept as they are, unless the candidate is what OpenVINO runs in float16: then they are stored so. A
    device without OpenVINO gets none, without a reason.
    """
    runtime = RUNTIMES["openvino"]
    if runtime.name not in profile.runtimes:
        return ""
    if not runtime.available():
        return f"there is no OpenVINO IR, for OpenVINO is not installed here; {runtime.install} brings it"
    halved = chosen.runtime == runtime.name and chosen.session.get(PRECISION) == "f16"
    try:
        openvino = import_runtime(runtime.name)
        openvino.save_model(openvino.Core().read_model(model), folder / IR_FILES[0], compress_to_fp16=halved)
    except Exception as error:  # whatever the runtime raises
        for name in IR_FILES:
            (folder / name).unlink(missing_ok=True)
        return f"there is no OpenVINO IR: OpenVINO {runtime.version()} does not convert it: {in_one_line(str(error))}"
    return ""
