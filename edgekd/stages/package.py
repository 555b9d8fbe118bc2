"""Stage 8: the artifact: the chosen file, how to feed it, vectors that prove it, and hashes of everything."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from edgekd.data.image import Fit, fit_image
from edgekd.data.split import open_split
from edgekd.external_data import copy_onnx, data_file
from edgekd.formats.onnx_file import onnx_outputs
from edgekd.preprocessing import Preprocessing, normalise, sample_inputs
from edgekd.record import Record
from edgekd.rendering.gfm import escape
from edgekd.rendering.outline import Shipped, shipped_as
from edgekd.rendering.text import BRACKETS, spoken
from edgekd.results import Candidate
from edgekd.runtimes import predict_all
from edgekd.sbom import software_bill
from edgekd.schemes.offered import PRECISION, on_this_machine
from edgekd.tasks.boxes import NMS_IOU
from edgekd.tasks.detection import CONFIDENT, DETECTION
from edgekd.version import __version__
from edgekd.workspace import BOOKKEEPING, file_sha256

PARITY_VECTORS = 8
PARITY_TOLERANCE = 0.05
"""Largest difference of an output, relative to the largest expected one, that another machine may show. int8
kernels of different instruction sets round differently; five in a hundred is a judgement, far below what a wrong
preprocessing or a damaged weight shows."""


POSTPROCESSING = {
    "logits": "sigmoid, each class for itself",
    "boxes": "x1, y1, x2, y2 in pixels of the model's input",
    "confidence": CONFIDENT,
    "nms_iou": NMS_IOU,
}
"""What makes answers of a detector's outputs: positions from this confidence on, and of those of one class that overlap
by more, the most confident."""


class Packaged(Record):
    """File in the artifact to its SHA-256."""

    files: dict[str, str]


def package(
    folder: Path,
    *,
    model: Path,
    chosen: Candidate,
    preprocessing: Preprocessing,
    classes: tuple[str, ...] | None,
    data: Path | None,
    manifest: dict[str, Any],
    trained: Shipped,
    tokenizer: Path | None = None,
    optimised: Path | None = None,
) -> Packaged:
    """Fill `folder` with the artifact.

    Args:
        data: the run's splits; the parity vectors are test inputs, or made up where there are none.
        manifest: what the run was made from: source model, recipe, target, versions.
        trained: which of the students ships, or "teacher" where none was trained.
        tokenizer: the file that turns text into the model's input, for models of text.
        optimised: the model in ONNX Runtime's own format, where the chosen session loads that.
    """
    shipped = shipped_as(trained, chosen)
    copy_onnx(model, folder / "model.onnx")
    if optimised:
        shutil.copyfile(optimised, folder / optimised.name)
    (folder / "preprocess.json").write_text(preprocessing.as_json() + "\n")
    if tokenizer and preprocessing.tokens:
        shutil.copyfile(tokenizer, folder / preprocessing.tokens.file)
    if classes:
        (folder / "labels.txt").write_text("".join(f"{name}\n" for name in classes), encoding="utf-8")
    outputs = _write_parity(folder, chosen, _parity_inputs(preprocessing, data))
    if _is_of_images(preprocessing):
        _write_parity_image(folder, preprocessing)
    if _detects(outputs):
        (folder / "postprocess.json").write_text(json.dumps(POSTPROCESSING, indent=1) + "\n")
    beside = data_file(folder / "model.onnx")
    weights = beside.name if beside.is_file() else None
    text = _readme(chosen, preprocessing, classes, outputs, target=manifest["target"], shipped=shipped, weights=weights)
    (folder / "README.md").write_text(text, encoding="utf-8")
    (folder / "sbom.cdx.json").write_text(software_bill(folder / "model.onnx", manifest))
    described = {
        **manifest,
        "shipped": shipped,
        "candidate": chosen.model_dump(mode="json", exclude={"host"}),
        "files": _hashes(folder),
    }
    text = json.dumps({"schema": 1, "edgekd": __version__, **described}, indent=1, sort_keys=True)
    (folder / "manifest.json").write_text(text + "\n")
    hashes = _hashes(folder)
    (folder / "SHA256SUMS").write_text("".join(f"{sha}  {name}\n" for name, sha in hashes.items()))
    return Packaged(files=_hashes(folder))


def _write_parity(folder: Path, chosen: Candidate, inputs: npt.NDArray[Any]) -> dict[str, tuple[int, ...]]:
    """Write what the model says of `inputs`; return the shape of each of its outputs for one, by name."""
    parity = folder / "parity"
    parity.mkdir()
    model = folder / "model.onnx"
    names = [output.name for output in onnx_outputs(onnx.load(model, load_external_data=False))]
    session = {key: value for key, value in chosen.session.items() if key == PRECISION}
    said = predict_all(model, [inputs], runtime=chosen.runtime, options=on_this_machine(session))
    outputs = dict(zip(names, said, strict=True))
    arrays: dict[str, Any] = {"input": inputs, **outputs}
    np.savez(parity / "vectors.npz", **arrays)
    described = {"relative_tolerance": PARITY_TOLERANCE, "runtime": chosen.runtime, "vectors": len(inputs)}
    (parity / "parity.json").write_text(json.dumps({**described, "session": session}, indent=1) + "\n")
    return {name: output.shape[1:] for name, output in outputs.items()}


def _write_parity_image(folder: Path, how: Preprocessing) -> None:
    """Write a made-up image, larger than the model's and of other proportions, and the model input it becomes."""
    (height, width), rng = how.shape[1:], np.random.default_rng(0)
    image = rng.integers(0, 256, (height + height // 2, 2 * width + 3, 3), np.uint8)
    fitted = fit_image(Image.fromarray(image), Fit(height, width, how.shape[0], how.resize, how.crop))
    np.savez(folder / "parity" / "image.npz", image=image, input=normalise(fitted[None], how)[0])


def _parity_inputs(preprocessing: Preprocessing, data: Path | None) -> npt.NDArray[Any]:
    if data is not None:
        return normalise(np.asarray(open_split(data, "test").inputs[:PARITY_VECTORS]), preprocessing)
    return sample_inputs(PARITY_VECTORS, preprocessing.shape, preprocessing.dtype)


def _detects(outputs: dict[str, tuple[int, ...]]) -> bool:
    return tuple(outputs) == (DETECTION.output, *DETECTION.further_outputs)


def _is_of_images(how: Preprocessing) -> bool:
    return not how.identity and how.channels in (1, 3)


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in BOOKKEEPING)
    return {p.relative_to(folder).as_posix(): file_sha256(p) for p in files}


def _box(how: Preprocessing) -> tuple[int, int] | None:
    """(width, height) that an image is made to cover before the crop, as `edgekd.data.image` does it."""
    if how.crop is None or how.width is None or how.height is None:
        return None
    return round(how.width / how.crop), round(how.height / how.crop)


def _source(how: Preprocessing) -> str:
    """What the program in the README is given."""
    if how.tokens:
        return '"a sentence"' + ' "and another"' * bool(how.tokens.pair)
    if how.sample_rate is not None:
        return "sound.wav"
    return "photo.jpg" if not how.identity and how.channels in (1, 3) else "sample.npy"


def _settings(session: dict[str, Any]) -> list[str]:
    """What the program in the README sets of ONNX Runtime's session options, beside threads."""
    attributes = {"arena": "enable_cpu_mem_arena", "memory_pattern": "enable_mem_pattern"}
    lines = [f"{name} = False" for key, name in attributes.items() if not session.get(key, True)]
    entries = {key: value for key, value in session.items() if key.startswith("session.")}
    if not session.get("prepacking", True):
        entries["session.disable_prepacking"] = "1"
    return lines + [f'add_session_config_entry("{key}", "{value}")' for key, value in entries.items()]


def _readme(
    chosen: Candidate,
    how: Preprocessing,
    classes: tuple[str, ...] | None,
    outputs: dict[str, tuple[int, ...]],
    *,
    target: str,
    shipped: str,
    weights: str | None,
) -> str:
    threads = int(chosen.session.get("threads", 1))
    used = f"{threads} thread{'s' * (threads > 1)}"
    numbers = {"Latency": chosen.latency_p50_ms, "Peak memory": chosen.peak_memory_kib}
    boxes = _detects(outputs)
    labels = bool(classes) and next(iter(outputs.values())) == (len(classes or ()),)
    values: dict[str, Any] = {
        "chosen": chosen,
        "how": how,
        "target": target,
        "shipped": shipped,
        "weights": weights,
        "threads": threads,
        "loaded": chosen.session.get("file", "model.onnx"),
        "settings": _settings(chosen.session),
        "precision": chosen.session.get(PRECISION, "f32"),
        "costs": [f"{name}: {spoken(number)}, {used}" for name, number in numbers.items() if number],
        "brackets": BRACKETS,
        "outputs": outputs,
        "output": "logits" if labels else "output",
        "labels": labels,
        "boxes": boxes,
        "postprocessing": POSTPROCESSING,
        "sample_shape": how.shape if how.identity else (how.height, how.width, how.channels),
        "sound": how.identity and how.sample_rate is not None,
        "images": _is_of_images(how),
        "source": _source(how),
        "box": _box(how),
    }
    environment = Environment(
        loader=PackageLoader("edgekd.stages"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters["escape"] = escape
    program = environment.get_template("predict.py.j2").render(values)
    return environment.get_template("artifact.md.j2").render(values, program=program)
