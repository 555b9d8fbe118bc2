"""What a run is made from: the key in its folder's name, and what decides whether a finished stage still holds."""

import ast
import importlib.metadata
import re
from pathlib import Path
from typing import Any

from edgekd.data.tokens import tokenizer_file
from edgekd.device import HOST, DeviceProfile
from edgekd.formats.identify import identify
from edgekd.formats.onnx_file import external_files
from edgekd.recipe import CODE_FIELDS, Recipe, code_file
from edgekd.workspace import file_sha256, fingerprint, source_stamp

_INPUT_FIELDS = {
    *("data", "synthesise", "adapt_teacher", "task", "arch", "trust", "seed"),
    *("input_size", "mean", "std", "scale", "channels", "resize", "crop"),
    *("sample_rate", "duration", "front"),
    *("tokenizer", "max_length", "label_column", "text_column"),
}
_LIBRARIES = (
    *("torch", "torchvision", "timm", "torch-pruning", "lightning-fabric", "pillow", "scipy"),
    *("onnx", "onnxruntime", "onnxscript", "onnxslim", "openvino"),
    *("transformers", "tokenizers", "pyarrow"),
)
"""Libraries whose version may change a result."""


def settle_student(plan: Recipe) -> tuple[Recipe, tuple[str, ...]]:
    """Decide what None means for the student: pruned from the teacher where there is data to train on, else none."""
    if plan.student is not None:
        return plan, ()
    if plan.data is not None:
        return plan.model_copy(update={"student": "auto"}), ()
    line = "no --data, so the teacher itself is compressed; --student auto trains one on inputs synthesised from it"
    return plan.model_copy(update={"student": "none"}), (line,)


def default_folder(plan: Recipe, profile: DeviceProfile) -> Path:
    """runs/MODEL-TARGET-KEY; the key changes with the model, the data, the libraries and every setting."""
    identity = fingerprint([identity_of_inputs(plan), plan.model_dump(mode="json"), identity_of_profile(profile)])
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(str(plan.model)).stem)[:40].strip("-.") or "model"
    return Path("runs") / f"{name}-{profile.name}-{identity[:8]}"


def identity_of_inputs(plan: Recipe) -> list[object]:
    """What the model and the data are: hashes of files, a stamp of data folders, the settings that read them, and the
    versions of the libraries that do. Data that `file.py:make` reads by itself are not looked at."""
    model = Path(str(plan.model))
    kind = identify(model)
    weights = external_files(model) if kind.kind == "onnx" else ()
    tokenizer = tokenizer_file(plan.tokenizer, model)
    beside = tokenizer.with_name("tokenizer_config.json") if tokenizer else None
    data = Path(plan.data) if plan.data and code_file(plan.data) is None else None
    return [
        [kind.sha256, *(file_sha256(path) for path in weights)],
        [file_sha256(path) for path in (tokenizer, beside) if path is not None and path.is_file()],
        plan.model_dump(include=_INPUT_FIELDS),
        code_hashes(plan),
        source_stamp(data) if data else plan.student != "none",
        file_sha256(Path(plan.classes)) if plan.classes else None,
        library_versions(),
    ]


def identity_of_teachers(plan: Recipe) -> list[str]:
    """SHA-256 of the further teachers."""
    return [identify(path).sha256 for path in plan.co_teacher]


def identity_of_profile(profile: DeviceProfile) -> dict[str, Any]:
    """What a profile decides. Its sources decide nothing; this machine's clock is another at every look."""
    guessed = {"clock_ghz", "latency"} if profile.name == HOST else set()
    return profile.model_dump(mode="json", exclude={"sources", *guessed})


def code_hashes(plan: Recipe) -> dict[str, str]:
    """SHA-256 of every `file.py` that the plan names, and of the modules beside it that it imports."""
    named = [code_file(getattr(plan, field)) for field in CODE_FIELDS]
    files = {path for one in named if one is not None and one.is_file() for path in _with_imports(one, set())}
    return {str(path): file_sha256(path) for path in sorted(files)}


def library_versions() -> dict[str, str]:
    """Versions of the libraries that are installed and may change a result."""
    versions = {name: version_of(name) for name in _LIBRARIES}
    return {name: version for name, version in versions.items() if version is not None}


def version_of(library: str) -> str | None:
    """Its version, or None where it is not installed."""
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _with_imports(path: Path, seen: set[Path]) -> set[Path]:
    """The file and, through its import statements, the modules in its folder; unreadable code is reported when run."""
    if path in seen:
        return seen
    seen.add(path)
    try:
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
    except (SyntaxError, ValueError):
        return seen
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    for name in names:
        beside = path.parent / f"{name.partition('.')[0]}.py"
        if beside.is_file():
            _with_imports(beside, seen)
    return seen
