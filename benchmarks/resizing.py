"""How near both ways of resizing in app.onnx come to Pillow, and what they take.

    python benchmarks/resizing.py

Photograph-like images of many sizes become 32 x 32 and 224 x 224, by the operator Resize (opset 18 on) and by products
of whole numbers (before), each in a process of its own, because peak memory never falls.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image

from edgekd.artifact.app.graph import app_graph
from edgekd.artifact.contract import Licences, Source, contract_of
from edgekd.benchmark_program import open_onnxruntime
from edgekd.data.image import Fit, fit_image
from edgekd.preprocessing import Preprocessing

SIZES = ((32, 32), (48, 64), (224, 224), (480, 640), (1080, 1920), (3000, 4000))
"""Height and width."""
TARGETS = (32, 224)
OPSETS = (18, 17)
ROUNDS = 3


def resized_by(opset: int, size: tuple[int, int], filter_name: str) -> onnx.ModelProto:
    """An app graph that does nothing but resize: the pixels as they are."""
    shape = (3, *size)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, *shape)) for name in ("input", "output")]
    graph = helper.make_graph([helper.make_node("Identity", ["input"], ["output"])], "nothing", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    how = Preprocessing(
        **dict(zip(("channels", "height", "width"), shape, strict=True)),
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        scale="0..255",
        resize=filter_name,
    )
    source = Source(target="host", shipped="nothing")
    contract = contract_of(
        how, task="generic", classes=None, outputs={"output": shape}, licences=Licences(), source=source
    )
    return app_graph(model, contract, max_opset=opset)


def photograph(height: int, width: int) -> np.ndarray:
    """Soft colours with the noise of a sensor, uint8 (height, width, 3)."""
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (9, 13, 3), np.uint8))
    pixels = np.array(colours.resize((width, height), Image.Resampling.BICUBIC))
    for row in pixels:
        row[:] = np.clip(row + rng.normal(0, 8, row.shape), 0, 255)
    return pixels


def compare(opset: int, filter_name: str, target: int, height: int, width: int) -> None:
    """One line: how many of the values differ from Pillow's, by how many levels, what it takes, and how much memory."""
    pixels = photograph(height, width)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resize.onnx"
        onnx.save(resized_by(opset, (target, target), filter_name), path)
        session = open_onnxruntime(str(path), 1, {})
    fit = Fit(target, target, 3, filter_name)  # type: ignore[arg-type]
    pillow, expected = cpu_ms(partial(fit_image, pixels, fit))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took, [resized] = cpu_ms(partial(session.run, [pixels]))
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    off = np.abs(resized.transpose(1, 2, 0) - expected)
    print(
        f"{filter_name:9} {width:5} x {height:4} to {target:3} opset {opset}: {np.mean(off > 0):8.3%} off by at "
        f"most {off.max():.0f}, {took:8.2f} ms, Pillow {pillow:7.2f} ms, {memory:5.0f} MiB",
        flush=True,
    )


def cpu_ms(work: Callable[[], Any]) -> tuple[float, Any]:
    """Least CPU milliseconds of a few rounds, and what `work` returns."""
    took = []
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        result = work()
        took.append((time.process_time_ns() - began) / 1e6)
    return min(took), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    one = parser.parse_args().one
    if one:
        opset, filter_name, *sizes = one
        compare(int(opset), filter_name, *map(int, sizes))
        return
    for filter_name, target, size, opset in product(("bilinear", "bicubic"), TARGETS, SIZES, OPSETS):
        words = map(str, (opset, filter_name, target, *size))
        subprocess.run([sys.executable, __file__, "--one", *words], check=True)


if __name__ == "__main__":
    main()
