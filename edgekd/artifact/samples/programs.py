"""Programs in the artifact: each first answers the parity vectors, then whatever it is given.

No text from outside is written into a program: labels, names of files and expected answers are read when it runs.
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from edgekd.artifact.contract import Contract
from edgekd.errors import BadInput
from edgekd.formats.zip_members import shown

TEMPLATES = Path(__file__).parent / "templates"
PAGE = TEMPLATES / "browser"
"""The page that `edgekd try` serves is the sample for browsers."""
PROGRAMS = ("python", "node", "browser", "cpp", "android", "ios")
TAKEN_OVER = {name: f"browser/{name}" for name in ("answer.js", "check.js", "npy.js")}
"""What the sample for Node.js has of the page."""
FOR_ONE_KIND = {"cpp/ppm.hpp": "image", "cpp/wav.hpp": "sound"}
WHAT = {"image": "an image", "sound": "a sound", "tokens": "a text", "array": "an input"}
INPUT = {"image": "image", "sound": "samples", "tokens": "ids", "array": "input"}
"""Name of the input of app.onnx; that of model.onnx, which only arrays are given to, is the last one."""
GIVEN = {"image": "photo.jpg", "sound": "sound.wav", "tokens": '"a text"', "array": "input.npy"}
GIVEN_NATIVE = {**GIVEN, "image": "photo.ppm", "tokens": "'101 2023 102'"}
"""The samples in other languages than Python bring no decoder of image files, and no tokenizer."""
NEEDS = {"image": ", and pillow for other images than PPM", "tokens": ", and tokenizers for text"}
NATIVE_TYPES = {"uint8": "std::uint8_t", "float32": "float", "int64": "std::int64_t"}
SWIFT_TYPES = {"uint8": "uInt8", "float32": "float", "int64": "int64"}
PLAIN = re.compile(r"[\w.,:;=+/ -]*", re.ASCII)
"""What means itself within the quotes of every language."""


def write_samples(folder: Path, how: Contract, *, session: Mapping[str, Any]) -> None:
    """Write `samples/` into the artifact in `folder`, which holds its graphs.

    Args:
        how: its answer is what the parity vectors hold.
        session: the session options that were found best.

    Raises:
        BadInput: a session option is no plain word.
    """
    values, environment = sample_values(folder, how, session), templates()
    for name in sorted(path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*") if path.is_file()):
        target = folder / "samples" / name.removesuffix(".j2")
        if not name.startswith(PROGRAMS) or FOR_ONE_KIND.get(name, how.kind) != how.kind:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".j2"):
            target.write_text(environment.get_template(name).render(values), encoding="utf-8")
        else:
            shutil.copyfile(TEMPLATES / name, target)
    for name, source in TAKEN_OVER.items():
        shutil.copyfile(TEMPLATES / source, folder / "samples" / "node" / name)


def templates() -> Environment:
    """Everything that is written for one artifact; texts from outside pass one of the filters."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters["plain"] = plain
    return environment


def plain(value: str) -> str:
    """The text itself, which may stand between quotes in a program of any language. Raises BadInput for any other."""
    if not PLAIN.fullmatch(value):
        raise BadInput(f"{shown(value)} is no session option that could be written into a program; leave it out.")
    return value


def sample_values(folder: Path, how: Contract, session: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates are filled with."""
    shapes = {"image": f"(height, width, {how.channels})", "sound": "(frames)", "tokens": "(tokens)"}
    dtype = {"image": "uint8", "sound": "float32", "tokens": "int64"}.get(how.kind, how.dtype)
    pair = bool(how.tokens and how.tokens.pair)
    entries = {key: str(value) for key, value in session.items() if key.startswith("session.")}
    if not session.get("prepacking", True):
        entries["session.disable_prepacking"] = "1"
    graph = _graph(folder, session)
    return {
        "kind": how.kind,
        "answer": how.answer,
        "task": f"Answers for {'two texts' if pair else WHAT[how.kind]}",
        "given": GIVEN[how.kind] + ' "another"' * pair,
        "native_given": GIVEN_NATIVE[how.kind],
        "needs": NEEDS.get(how.kind, ""),
        "graph": graph,
        "one_file": graph.replace(".mapped.onnx", ".onnx"),  # Android's assets are bytes, with no file beside them
        "batched": not (folder / "app.onnx").is_file(),
        "input": INPUT[how.kind],
        "channels": how.channels,
        "rate": how.sample_rate,
        "pair": pair,
        "dtype": dtype,
        "native_type": NATIVE_TYPES[dtype],
        "swift_type": SWIFT_TYPES[dtype],
        "raw_shape": shapes.get(how.kind, f"({', '.join(map(str, how.shape))})"),
        "threads": int(session.get("threads", 1)),
        "arena": bool(session.get("arena", True)),
        "memory_pattern": bool(session.get("memory_pattern", True)),
        "entries": entries,
    }


def _graph(folder: Path, session: Mapping[str, Any]) -> str:
    """Name of the graph that the programs run: the one for apps, as ONNX Runtime optimised it where that was chosen."""
    own = str(session.get("file", "model.onnx")).removeprefix("model")
    names = (f"app{own}", "app.onnx", f"model{own}")
    return next(name for name in names if (folder / name).is_file())
