"""What an app must know of a model, in one record: `preprocess.json`, and the metadata of every graph beside it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from edgekd.errors import one_line
from edgekd.external_data import set_metadata
from edgekd.preprocessing import Preprocessing
from edgekd.record import Record
from edgekd.tasks.boxes import NMS_IOU
from edgekd.tasks.detection import CONFIDENT
from edgekd.version import __version__

FILE = "preprocess.json"
METADATA_KEY = "edgekd"
"""Of the same JSON in a graph's `metadata_props`."""
UNKNOWN = "unknown"
Kind = Literal["image", "sound", "tokens", "array"]
"""What an app has: a decoded image, samples of a sound, token ids, or the model's input itself."""
Answer = Literal["classes", "boxes", "outputs"]
"""What an app wants: the likeliest classes, the objects, or the numbers as they come."""
Shapes = Mapping[str, tuple[int, ...]]
"""Name of an output to its shape for one sample."""


class Boxes(Record):
    """What makes objects of a detector's outputs: positions from a confidence on, and of those of one class that
    overlap by more than `nms_iou` (intersection over union), the most confident."""

    format: str = "x1, y1, x2, y2 in pixels of the model's input"
    confidence: float = CONFIDENT
    nms_iou: float = NMS_IOU


class Tensor(Record):
    """One input or output of model.onnx; `shape` begins with the batch, which is 1."""

    name: str
    dtype: Literal["float32", "int64"]
    shape: tuple[int, ...]
    meaning: str


class Licence(Record):
    """`id` is an SPDX identifier or expression, what a file calls it, or "unknown"; `origin` is who says so; `file` is
    where in the artifact its text lies."""

    id: str = UNKNOWN
    origin: str = "nobody says"
    file: str | None = None


class Licences(Record):
    """Of the model that came in, of the data (None where there are none), and of the student's code and weights."""

    teacher: Licence = Licence()
    data: Licence | None = None
    student: Licence = Licence()


class Source(Record):
    """What the model was made from. No time and no path, so that the same run makes the same bytes."""

    edgekd: str = __version__
    model_sha256: str | None = None
    """Of the file that came in."""
    target: str
    shipped: str
    """Which model, under which scheme, for which runtime."""


class Contract(Preprocessing):
    """How an app feeds the model and what it makes of the outputs, beside everything that preprocessing says."""

    schema_version: Literal[1] = Field(1, alias="schema")
    task: str
    kind: Kind
    answer: Answer
    labels: tuple[str, ...] = ()
    """In the order of the model's outputs, one line each; empty where classes have no names."""
    probabilities: Literal["softmax", "sigmoid"] | None
    """What makes probabilities of the logits: over all classes, or each for itself."""
    boxes: Boxes | None = None
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    licences: Licences
    source: Source

    def label(self, index: int) -> str:
        """Name of a class, or its index where classes have no names."""
        return self.labels[index] if index < len(self.labels) else str(index)

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width) of the model's input image."""
        return self.height or 0, self.width or 0


def contract_of(
    how: Preprocessing,
    *,
    task: str,
    classes: tuple[str, ...] | None,
    outputs: Shapes,
    licences: Licences,
    source: Source,
) -> Contract:
    """The contract of a model that does `task`, a name in `edgekd.tasks.table.TASKS`, and gives `outputs`."""
    answer = ANSWERS.get(task, "outputs")
    meanings = MEANINGS[answer]
    return Contract(
        **dict(how),
        task=task,
        kind=kind_of(how),
        answer=answer,
        labels=tuple(map(one_line, classes or ())),
        probabilities=PROBABILITIES.get(answer),
        boxes=Boxes() if answer == "boxes" else None,
        inputs=(Tensor(name="input", dtype=how.dtype, shape=(1, *how.shape), meaning=_input_meaning(how)),),
        outputs=tuple(
            Tensor(name=name, dtype="float32", shape=(1, *shape), meaning=meanings[at] if at < len(meanings) else RAW)
            for at, (name, shape) in enumerate(outputs.items())
        ),
        licences=licences,
        source=source,
    )


def write_contract(folder: Path, contract: Contract) -> None:
    """Write preprocess.json, and the same into the metadata of every ONNX graph in `folder`."""
    text = contract.as_json()
    (folder / FILE).write_text(f"{text}\n", encoding="utf-8")
    compact = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    for path in sorted(folder.glob("*.onnx")):
        set_metadata(path, METADATA_KEY, compact)


def kind_of(how: Preprocessing) -> Kind:
    """What an app has for a model whose inputs are made in this way."""
    if how.tokens:
        return "tokens"
    if how.sample_rate is not None:
        return "sound"
    return "image" if not how.identity and how.channels in (1, 3) else "array"


def _input_meaning(how: Preprocessing) -> str:
    if how.tokens:
        return "token ids"
    if how.sample_rate is not None:
        return f"samples of a mono sound, -1..1, {how.sample_rate} per second"
    if how.identity:
        return ", ".join(how.columns) or RAW
    order = "grey" if how.channels == 1 else how.order.upper() if how.channels == 3 else "channels"
    return f"pixels ({order}) brought to {how.scale}, less the mean, over the standard deviation, by channel"


RAW = "as the model was trained on"
ANSWERS: dict[str, Answer] = {"classification": "classes", "detection": "boxes"}
"""Task to what an app wants of it."""
PROBABILITIES: dict[Answer, Literal["softmax", "sigmoid"]] = {"classes": "softmax", "boxes": "sigmoid"}
"""What the losses and scores of these tasks take logits for."""
MEANINGS: dict[Answer, tuple[str, ...]] = {
    "classes": ("a logit for each class; softmax makes probabilities of them",),
    "boxes": (
        "at each position a logit for each class; a sigmoid makes a probability of each by itself",
        "at each position a box: x1, y1, x2, y2 in pixels of the model's input",
    ),
    "outputs": (),
}
"""What a model's outputs are, in their order."""
