"""Peak memory of an artifact's Python and C++ samples, with default session options and with those that a run chooses.

    python benchmarks/sample_memory.py --out build/samples [--models build/zoo] [--add FILE.onnx]... [NET...]

Each network of zoo.py that takes images, float and statically quantized, and each added file is put through the stage
that chooses session options on this machine and packaged twice, with and without them. The peak is the kernel's of the
whole process, from a launcher that is smaller than any of them; a sample checks itself against its parity vectors
meanwhile. Without a C++ compiler or CMake there are figures of Python alone.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import numpy as np
import onnx
import onnxruntime
import zoo
from memory import quantized

from edgekd.artifact.parity.vectors import Reference
from edgekd.device import load_profile
from edgekd.preprocessing import Preprocessing
from edgekd.progress import silent
from edgekd.rendering.outline import session_words
from edgekd.results import Candidate
from edgekd.runtimes import predict_all
from edgekd.stages.configure import configure
from edgekd.stages.package import package

NETS = ("resnet18", "mobilenetv2", "efficientnet_b0", "convnext_atto")
PROCESSES = 5
LAUNCHER = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
print(used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/samples"))
    parser.add_argument("--models", type=Path, default=Path("build/zoo"))
    parser.add_argument("--add", type=Path, action="append", default=[])
    parser.add_argument("nets", nargs="*", default=NETS)
    arguments = parser.parse_args()
    files = [
        file
        for name in arguments.nets
        for file in (zoo.export(name, arguments.models), quantized(name, arguments.models))
    ]
    for file in [*arguments.add, *files]:
        kept = arguments.out / f"{file.stem}.json"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(weighed(file, arguments.out / file.stem), indent=1))
        show(file, json.loads(kept.read_text()))


def weighed(file: Path, folder: Path) -> dict[str, object]:
    """Return the options that are chosen for a file, and the peaks of its samples in KiB without and with them."""
    folder.mkdir(parents=True, exist_ok=True)
    [given] = onnx.load(file, load_external_data=False).graph.input
    _, channels, height, width = (size.dim_value for size in given.type.tensor_type.shape.dim)
    how = Preprocessing(height=height, width=width, channels=channels, mean=(0.5,) * channels, std=(0.25,) * channels)
    np.save(folder / "input.npy", how.zeros(1))
    usual = Candidate(
        id=file.stem, scheme="fp32", runtime="onnxruntime", session={"threads": 1}, file=file.name, sha256="0" * 64
    )
    host = load_profile("host")
    one_core = host.model_copy(
        update={"runtimes": {"onnxruntime": host.runtimes["onnxruntime"].model_copy(update={"threads": 1})}}
    )
    found = configure(
        chosen=usual, files=file.parent, profile=one_core, inputs=folder / "input.npy", seconds=2.0, listen=silent
    )
    peaks = {}
    for name, chosen in (("default", usual), ("chosen", found.chosen)):
        artifact = packaged(file, folder / name, chosen, how)
        for language, command in commands(artifact, folder / f"build-{name}").items():
            peaks.setdefault(language, {})[name] = [peak_kib(command) for _ in range(PROCESSES)]
    trials = [
        {
            "session": one.session,
            "peak": one.peak_memory_kib and one.peak_memory_kib.value,
            "cost": one.cost and one.cost.value,
            "reason": one.reason,
        }
        for one in found.trials
    ]
    return {"session": found.chosen.session, "peaks": peaks, "trials": trials}


def packaged(file: Path, folder: Path, chosen: Candidate, how: Preprocessing) -> Path:
    """Return a fresh artifact of a file, whose expected answers are its own."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    classes = predict_all(file, [how.zeros(1)])[0].shape[-1]
    package(
        folder,
        model=file,
        chosen=chosen,
        preprocessing=how,
        task="classification",
        classes=tuple(f"class {at}" for at in range(classes)),
        data=None,
        reference=Reference("the file itself", lambda inputs: predict_all(file, [inputs])),
        manifest={"target": "host"},
        profile=load_profile("host"),
        trained="student",
    )
    return folder


def commands(artifact: Path, build: Path) -> dict[str, list[str]]:
    """Return the words that run each sample on its own parity vectors."""
    found = {"Python": [sys.executable, str(artifact / "samples" / "python" / "predict.py"), str(artifact)]}
    libraries = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    if shutil.which("cmake") and libraries:
        build.mkdir(exist_ok=True)
        library = build / "libonnxruntime.so.1"  # the name that the loader looks for
        library.unlink(missing_ok=True)
        library.symlink_to(libraries[0])
        sources = ["cmake", "-S", str(artifact / "samples" / "cpp"), "-B", str(build), f"-DONNXRUNTIME={library}"]
        for command in (sources, ["cmake", "--build", str(build)]):
            subprocess.run(command, check=True, capture_output=True)
        found["C++"] = [str(build / "predict"), str(artifact)]
    return found


def peak_kib(command: list[str]) -> int:
    """Peak resident set of one process that ends well. Without the launcher it would begin with this one's."""
    done = subprocess.run([sys.executable, "-S", "-c", LAUNCHER, *command], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def show(file: Path, found: dict[str, object]) -> None:
    sizes = f"{file.stem}, {file.stat().st_size / 2**20:.1f} MiB: {session_words(found['session'])}"
    for language, peaks in found["peaks"].items():
        default, chosen = (median(peaks[name]) / 1024 for name in ("default", "chosen"))
        sizes += f"; {language} {default:.1f} -> {chosen:.1f} MiB ({chosen / default - 1:+.0%})"
    print(sizes, flush=True)


if __name__ == "__main__":
    main()
