"""The artifact's README: what ships, where and at what cost, what each file is for, and how the samples are run."""

from pathlib import Path

from edgekd.artifact.contract import Contract
from edgekd.artifact.runtimes.files import RuntimeFiles
from edgekd.artifact.samples.programs import WHAT, sample_values, templates
from edgekd.external_data import data_file
from edgekd.rendering.gfm import escape
from edgekd.rendering.outline import session_words
from edgekd.rendering.text import BRACKETS, spoken
from edgekd.results import Candidate
from edgekd.schemes.offered import PRECISION


def write_readme(
    folder: Path, how: Contract, *, chosen: Candidate, own: RuntimeFiles, target: str, shipped: str
) -> None:
    """Write README.md of the artifact in `folder`, which holds everything else that is for apps.

    Args:
        own: what the runtimes have in their own formats.
        shipped: in words what ships.
    """

    def present(*names: str) -> str:
        return ", ".join(f"`{name}`" for name in names if (folder / name).is_file())

    beside = data_file(folder / "model.onnx")
    values = sample_values(folder, how, chosen.session)
    used = f"{values['threads']} thread{'s' * (values['threads'] > 1)}"
    numbers = {"Latency": chosen.latency_p50_ms, "Peak memory": chosen.peak_memory_kib}
    environment = templates()
    environment.filters["escape"] = escape
    text = environment.get_template("README.md.j2").render(
        values,
        chosen=chosen,
        how=how,
        target=target,
        shipped=shipped,
        app=(folder / "app.onnx").is_file(),
        weights=beside.name if beside.is_file() else None,
        own=own,
        present=present,
        images=how.kind == "image",
        sound=how.kind == "sound",
        licences=(folder / "LICENSES").is_dir(),
        labels=(folder / "labels.txt").is_file(),
        precision=chosen.session.get(PRECISION, "f32"),
        costs=[f"{name}: {spoken(number)}, {used}" for name, number in numbers.items() if number],
        brackets=BRACKETS,
        what="two texts" if how.tokens and how.tokens.pair else WHAT[how.kind],
        session_words=session_words(chosen.session) if chosen.runtime == "onnxruntime" else used,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
