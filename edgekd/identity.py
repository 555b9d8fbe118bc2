"""What a run is made from: the key in its folder's name, and what decides whether a finished stage still holds."""

import re
from pathlib import Path

from edgekd.device import DeviceProfile
from edgekd.errors import BadInput
from edgekd.recipe import CODE_FIELDS, Recipe, code_file
from edgekd.workspace import file_sha256, fingerprint, source_stamp

_INPUT_FIELDS = {
    *("data", "arch", "trust", "seed"),
    *("input_size", "mean", "std", "scale", "channels", "resize", "crop"),
}


def settle_student(plan: Recipe) -> tuple[Recipe, tuple[str, ...]]:
    """Decide what None means for the student: pruned from the teacher where there is data to train on, else none."""
    if plan.student is not None and plan.student != "none" and plan.data is None:
        raise BadInput(f"--student {plan.student} needs images to train on; give --data, or take --student none.")
    if plan.student is not None:
        return plan, ()
    if plan.data is not None:
        return plan.model_copy(update={"student": "auto"}), ()
    line = "no --data, so no student could be trained: the teacher itself was compressed, and nothing was scored"
    return plan.model_copy(update={"student": "none"}), (line,)


def default_folder(plan: Recipe, profile: DeviceProfile) -> Path:
    """runs/MODEL-TARGET-KEY; the key changes with the model, the data and every setting."""
    identity = fingerprint(
        [identity_of_inputs(plan), plan.model_dump(mode="json"), profile.model_dump(mode="json", exclude={"sources"})]
    )
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(str(plan.model)).stem)[:40].strip("-.") or "model"
    return Path("runs") / f"{name}-{profile.name}-{identity[:8]}"


def identity_of_inputs(plan: Recipe) -> list[object]:
    """What the model and the data are: hashes of files, a stamp of data folders, and the settings that read them.

    Raises:
        BadInput: the model file is missing.
    """
    model = Path(str(plan.model))
    if not model.is_file():
        raise BadInput(f"There is no model file {plan.model}; check the path.")
    named = [path for path in (code_file(plan.data), plan.data) if path is not None]
    data = [source_stamp(Path(path)) for path in named[:1] if Path(path).exists()]
    classes = [file_sha256(Path(plan.classes))] if plan.classes and Path(plan.classes).is_file() else []
    return [file_sha256(model), plan.model_dump(include=_INPUT_FIELDS), code_hashes(plan), data, classes]


def code_hashes(plan: Recipe) -> list[str]:
    """SHA-256 of every `file.py` that the plan names."""
    files = [code_file(getattr(plan, field)) for field in CODE_FIELDS]
    return [file_sha256(path) for path in files if path is not None and path.is_file()]
