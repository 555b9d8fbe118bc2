"""Licences of what a model was made from, as somebody says them: on the command line, in a file, or beside it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclonedx.spdx import fixup_id, is_expression

from edgekd.artifact.contract import UNKNOWN, Licence, Licences
from edgekd.errors import UsageError, did_you_mean
from edgekd.recipe import Recipe, code_file
from edgekd.workspace import fingerprint

FOLDER = "LICENSES"
PARTS = ("teacher", "data", "student")
NAMES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "LICENCE.md", "COPYING", "COPYING.txt")
MAX_BYTES = 2**18
"""Of a licence's text; the GPL has 35 KiB."""
OTHER = re.compile(r"LicenseRef-[A-Za-z0-9.-]{1,80}")
"""How SPDX calls a licence that is not on its list."""
LIBRARIES = {"timm": "Apache-2.0", "torchvision": "BSD-3-Clause"}
"""Libraries whose code students are built by, and what their packages say of themselves."""


@dataclass(frozen=True)
class Carried:
    """The licences, and the texts that go along, by their names in the artifact."""

    licences: Licences
    texts: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """Changes with every licence and text."""
        return fingerprint([self.licences.model_dump(), {name: text.hex() for name, text in self.texts.items()}])

    def write(self, folder: Path) -> None:
        """Write the texts into the artifact in `folder`."""
        for name, text in self.texts.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text)


def parse_licences(stated: Sequence[str]) -> dict[str, str]:
    """Read `--licence teacher=MIT`: part to SPDX identifier or expression. Raises UsageError."""
    found: dict[str, str] = {}
    for text in stated:
        part, _, name = (word.strip() for word in text.partition("="))
        if part not in PARTS:
            raise UsageError(f"--licence {text!r} is of {part!r}, which nothing is{did_you_mean(part, PARTS)}")
        known = fixup_id(name) or (name if name and (is_expression(name) or OTHER.fullmatch(name)) else None)
        if known is None:
            raise UsageError(
                f"--licence {text!r} names no SPDX licence; give an identifier such as MIT, an expression such as "
                "'MIT OR Apache-2.0', or LicenseRef-NAME for any other"
            )
        if part in found:
            raise UsageError(f"--licence is given twice for {part}; give it once")
        found[part] = known
    return found


def licences_of_run(plan: Recipe, said: str | None) -> Carried:
    """Gather the licences, each from the first that says it: --licence, the file itself, a text beside it.

    Args:
        plan: names the model, the data and the student; one that is pruned from the teacher has its licence.
        said: what the model file says of itself.
    """
    told = parse_licences(plan.licence)
    texts: dict[str, bytes] = {}
    teacher = _licence("teacher", told, Path(str(plan.model)), texts, said)
    data = Path(plan.data) if plan.data and code_file(plan.data) is None else None
    of_data = _licence("data", told, data, texts, None) if plan.data or "data" in told else None
    student = _of_student(plan.student or "none", told, teacher)
    return Carried(Licences(teacher=teacher, data=of_data, student=student), texts)


def _of_student(student: str, told: Mapping[str, str], teacher: Licence) -> Licence:
    library = student.partition(":")[0]
    if "student" in told:
        return Licence(id=told["student"], origin="--licence")
    if student in ("auto", "none"):
        return teacher
    return Licence(id=LIBRARIES[library], origin=f"the package {library}") if library in LIBRARIES else Licence()


def _licence(
    part: str, told: Mapping[str, str], source: Path | None, texts: dict[str, bytes], said: str | None
) -> Licence:
    text = None if source is None else _text_beside(source)
    name = f"{FOLDER}/{part}.txt" if text else None
    if text and name:
        texts[name] = text[1]
    if part in told:
        return Licence(id=told[part], origin="--licence", file=name)
    if said is not None:
        return Licence(id=fixup_id(said) or said, origin="the file itself", file=name)
    if text:
        return Licence(id=_identifier(text[1]), origin=f"{text[0]} beside it", file=name)
    return Licence()


def _text_beside(source: Path) -> tuple[str, bytes] | None:
    """Name and text of a licence in the folder of a file, or in a folder itself: a regular file of a sane size."""
    folder = source if source.is_dir() else source.parent
    for name in NAMES:
        path = folder / name
        if path.is_file() and not path.is_symlink() and 0 < path.stat().st_size <= MAX_BYTES:
            return name, path.read_bytes()
    return None


def _identifier(text: bytes) -> str:
    """What a text says it is in an SPDX line; titles are not guessed at."""
    for line in text.decode("utf-8", "replace").splitlines()[:20]:
        _, mark, name = line.partition("SPDX-License-Identifier:")
        known = fixup_id(name.strip()) if mark else None
        if known is not None:
            return known
    return UNKNOWN
