"""The artifact's README: what ships, where and at what cost, and a program that runs it."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from edgekd.artifact.contract import Contract
from edgekd.external_data import data_file
from edgekd.preprocessing import Preprocessing
from edgekd.rendering.gfm import escape
from edgekd.rendering.text import BRACKETS, spoken
from edgekd.results import Candidate
from edgekd.schemes.offered import PRECISION


def write_readme(folder: Path, contract: Contract, *, chosen: Candidate, target: str, shipped: str) -> None:
    """Write README.md of the artifact in `folder`; `shipped` says in words what ships."""
    beside = data_file(folder / "model.onnx")
    values = _values(contract, chosen) | {
        "target": target,
        "shipped": shipped,
        "weights": beside.name if beside.is_file() else None,
    }
    environment = Environment(
        loader=PackageLoader("edgekd.artifact"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters["escape"] = escape
    program = environment.get_template("predict.py.j2").render(values)
    text = environment.get_template("artifact.md.j2").render(values, program=program)
    (folder / "README.md").write_text(text, encoding="utf-8")


def _values(how: Contract, chosen: Candidate) -> dict[str, Any]:
    threads = int(chosen.session.get("threads", 1))
    used = f"{threads} thread{'s' * (threads > 1)}"
    numbers = {"Latency": chosen.latency_p50_ms, "Peak memory": chosen.peak_memory_kib}
    labels = how.answer == "classes" and bool(how.labels)
    return {
        "chosen": chosen,
        "how": how,
        "threads": threads,
        "loaded": chosen.session.get("file", "model.onnx"),
        "settings": _settings(chosen.session),
        "precision": chosen.session.get(PRECISION, "f32"),
        "costs": [f"{name}: {spoken(number)}, {used}" for name, number in numbers.items() if number],
        "brackets": BRACKETS,
        "output": "logits" if labels else "output",
        "labels": labels,
        "sample_shape": how.shape if how.identity else (how.height, how.width, how.channels),
        "sound": how.kind == "sound",
        "images": how.kind == "image",
        "source": _source(how),
        "box": _box(how),
    }


def _box(how: Preprocessing) -> tuple[int, int] | None:
    """(width, height) that an image is made to cover before the crop, as `edgekd.data.image` does it."""
    if how.crop is None or how.width is None or how.height is None:
        return None
    return round(how.width / how.crop), round(how.height / how.crop)


def _source(how: Contract) -> str:
    """What the program in the README is given."""
    if how.tokens:
        return '"a sentence"' + ' "and another"' * bool(how.tokens.pair)
    return {"sound": "sound.wav", "image": "photo.jpg"}.get(how.kind, "sample.npy")


def _settings(session: dict[str, Any]) -> list[str]:
    """What the program in the README sets of ONNX Runtime's session options, beside threads."""
    attributes = {"arena": "enable_cpu_mem_arena", "memory_pattern": "enable_mem_pattern"}
    lines = [f"{name} = False" for key, name in attributes.items() if not session.get(key, True)]
    entries = {key: value for key, value in session.items() if key.startswith("session.")}
    if not session.get("prepacking", True):
        entries["session.disable_prepacking"] = "1"
    return lines + [f'add_session_config_entry("{key}", "{value}")' for key, value in entries.items()]
