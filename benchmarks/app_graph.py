"""Whether app.onnx answers as the pipeline does, and what its nodes cost beside the model's own.

    python benchmarks/app_graph.py RUN... [--samples 1000]

RUN is the folder of a finished `edgekd compress`. Of its test samples raw inputs are made: images are enlarged to sizes
up to 640 x 480 by various filters and cropped to odd sizes, every tenth stays as it is; sounds get silence around them
or lose their ends; token ids lose their padding. Every file of `FILES` that the run has is then fed twice: by the
pipeline (Pillow, numpy, model.onnx, numpy) and as app.onnx, in turns, by process CPU time at one thread.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from PIL import Image

from edgekd.artifact.app.graph import app_graph
from edgekd.artifact.app.tokens import Ends, ends_of
from edgekd.artifact.contract import FILE, Contract
from edgekd.artifact.parity.answers import Vector, answers_of, differences, softmax
from edgekd.artifact.parity.choice import LEAST
from edgekd.benchmark_program import open_onnxruntime
from edgekd.data.image import Fit, fit_image
from edgekd.data.split import open_split
from edgekd.data.wav import Sound, fit_sound
from edgekd.onnx_graph import opset_of
from edgekd.preprocessing import normalise

FILES = ("fp32", "int8_static.twin", "int8_dynamic")
MAX_OPSET = 20
LARGEST = (640, 480)
ENLARGE = [getattr(Image.Resampling, name) for name in ("NEAREST", "BOX", "BILINEAR", "HAMMING", "BICUBIC", "LANCZOS")]


def raw_images(stored: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Images of various sizes and proportions out of uint8 (n, height, width, 3)."""
    for at, pixels in enumerate(stored):
        if at % 10 == 0:
            yield np.asarray(pixels)
            continue
        height, width = pixels.shape[:2]
        size = rng.integers(width + 1, LARGEST[0]), rng.integers(height + 1, LARGEST[1])
        large = Image.fromarray(pixels).resize(tuple(map(int, size)), ENLARGE[at % len(ENLARGE)])
        left, top = (rng.uniform(0, 0.08) * side for side in large.size)
        right, bottom = (side - rng.uniform(0, 0.08) * side for side in large.size)
        yield np.asarray(large.crop((int(left), int(top), int(right), int(bottom))))


def raw_sounds(stored: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Waveforms with silence around them, or without their ends, out of float32 (n, ..., frames)."""
    for sound in stored.reshape(len(stored), -1):
        more = int(rng.integers(-len(sound) // 10, len(sound) // 4))
        yield np.pad(sound, (more, more)) if more >= 0 else sound[-more:more]


def raw_ids(stored: np.ndarray, pad: int) -> Iterator[np.ndarray]:
    """Token ids without what pads them."""
    for ids in stored:
        told = np.flatnonzero(ids != pad)
        yield ids[: told[-1] + 1]


def model_input(contract: Contract, raw: np.ndarray) -> np.ndarray:
    """What the pipeline feeds, (1, ...)."""
    if contract.kind == "image":
        fit = Fit(*contract.sides, contract.channels or 0, contract.resize, contract.crop)
        return normalise(fit_image(raw, fit)[None], contract)
    if contract.kind == "sound":
        rate, samples = contract.sample_rate or 0, int(np.prod(contract.shape))
        return fit_sound(Sound(raw, rate), rate=rate, samples=samples).reshape(1, *contract.shape)
    assert contract.tokens is not None
    ids = np.full(contract.tokens.length, contract.tokens.pad)
    ids[: len(raw)] = raw
    return ids[None]


def said_by_app(contract: Contract, outputs: list[np.ndarray]) -> Vector:
    """The answer of app.onnx as a parity vector has it."""
    if contract.answer == "classes":
        indices, shares = (one.tolist() for one in outputs)
        return Vector(labels=tuple(map(contract.label, indices)), indices=indices, probabilities=shares)
    boxes, scores, indices = (one.tolist() for one in outputs)
    return Vector(labels=tuple(map(contract.label, indices)), indices=indices, scores=scores, boxes=boxes)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU milliseconds, and what `work` returns."""
    began = time.process_time_ns()
    result = work()
    return (time.process_time_ns() - began) / 1e6, result


def difference(contract: Contract, outputs: list[np.ndarray], answered: list[np.ndarray], size: tuple[int, int]) -> Any:
    """The largest of a probability or score, and of a coordinate by the image's longer side; None: another answer."""
    expected, said = answers_of(contract, outputs, [size])[0], said_by_app(contract, answered)
    found = differences(expected, said, max(size))
    if found is None or contract.answer != "classes":
        return found
    return float(np.abs(softmax(outputs[0][0])[list(said.indices)] - said.probabilities).max()), 0.0


def compare(model: Path, contract: Contract, raw: list[np.ndarray], ends: Ends) -> str:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "app.onnx"
        graph = app_graph(onnx.load(model), contract, max_opset=MAX_OPSET, ends=ends)
        onnx.save(graph, path)
        plain, whole = (open_onnxruntime(str(one), 1, {}) for one in (model, path))
    plain.run([model_input(contract, raw[0])])
    whole.run([raw[0]])  # the first run of all is slower
    took, apart = [], []
    for one in raw:
        prepare, fed = timed(partial(model_input, contract, one))
        alone, outputs = timed(partial(plain.run, [fed]))
        app, answered = timed(partial(whole.run, [one]))
        took.append((prepare, alone, app))
        size = one.shape[:2] if contract.kind == "image" else (1, 1)
        apart.append(difference(contract, outputs, answered, size))
    same = [one for one in apart if one is not None]
    probability, box = np.max(same, axis=0)
    over = sum(one[0] > LEAST.probability for one in same)
    prepare, alone, app = np.mean(took, axis=0)
    return (
        f"{opset_of(graph):5} {len(same):5} of {len(raw):4} {probability:8.1g}"
        f" {over:6} {box:6.1g} {alone:9.3f} {app - alone:7.3f} {(app - alone) / alone:6.1%} {prepare:9.3f}"
    )


def compare_run(run: Path, samples: int) -> None:
    """The table's lines of a run."""
    contract = Contract.model_validate_json((run / "artifact" / FILE).read_text(encoding="utf-8"))
    stored = np.asarray(open_split(run / "stages" / "load" / "data", "test").inputs[:samples])
    rng, tokens = np.random.default_rng(0), contract.tokens
    ends = ends_of(run / "artifact" / tokens.file) if tokens else Ends()
    if contract.kind == "image":
        raw = list(raw_images(stored, rng))
    else:
        raw = list(raw_ids(stored, tokens.pad) if tokens else raw_sounds(stored, rng))
    for name in FILES:
        model = run / "stages" / "quantize" / f"{name}.onnx"
        if model.is_file():
            print(f"{run.name[:20]:20} {name:17}", compare(model, contract, raw, ends), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--samples", type=int, default=1000)
    arguments = parser.parse_args()
    head = f"off by >{LEAST.probability}  boxes  model ms   added         by Pillow"
    print(f"{'run':20} {'file':17} opset same answer   {head}")
    for run in arguments.runs:
        compare_run(run, arguments.samples)


if __name__ == "__main__":
    main()
