"""What a shipped classifier scores as the kernels of Arm cores compute it, beside this machine, and how many answers
differ.

    python benchmarks/emulated_scores.py RUN [--samples 1000] [--core cortex-a53 --core cortex-a76]

RUN is the folder of a finished `edgekd compress`; its first test samples are run through `artifact/model.onnx` here and
on every emulated core (`edgekd doctor --on emulate:CORE --install` fetches what that takes).
"""

import argparse
import importlib.metadata
import time
from pathlib import Path

import numpy as np

from edgekd.emulation.outputs import emulated_outputs
from edgekd.preprocessing import Preprocessing, normalise
from edgekd.runtimes import predict_all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--core", action="append", help="default: cortex-a53 and cortex-a76")
    arguments = parser.parse_args()
    artifact, data = arguments.run / "artifact", arguments.run / "stages" / "load" / "data"
    how = Preprocessing.model_validate_json((artifact / "preprocess.json").read_text(encoding="utf-8"))
    stored = np.load(data / "test_inputs.npy", mmap_mode="r", allow_pickle=False)[: arguments.samples]
    labels = np.load(data / "test_labels.npy", allow_pickle=False)[: len(stored)]
    inputs = normalise(np.asarray(stored), how)
    version = importlib.metadata.version("onnxruntime")
    model = artifact / "model.onnx"
    here = predict_all(model, [inputs])[0]
    print(f"{len(inputs)} test samples, onnxruntime {version}")
    print(f"{'this machine':16}{np.mean(here.argmax(-1) == labels):8.2%}")
    for core in arguments.core or ("cortex-a53", "cortex-a76"):
        began = time.monotonic()
        outputs = emulated_outputs(model, [[one[None]] for one in inputs], core=core, version=version)
        there = np.concatenate([np.asarray(sample[0], np.float32) for sample in outputs])
        differ = int(np.sum(there.argmax(-1) != here.argmax(-1)))
        print(
            f"{core:16}{np.mean(there.argmax(-1) == labels):8.2%}  {differ} answers differ, outputs by at most "
            f"{np.abs(there - here).max():.2g} (largest {np.abs(here).max():.2g}), {time.monotonic() - began:.0f} s"
        )


if __name__ == "__main__":
    main()
