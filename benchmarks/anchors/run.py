"""Distillation on public data, with and without the teacher, over seeds: the table of docs/distillation.md.

    python benchmarks/anchors/run.py --data FOLDER --out runs/anchors [--only trec]

FOLDER holds text.tar.xz (TREC), fsdd.npz (spoken digits), ett.tar.xz (ETTh1), bccd.tar (cells with boxes), the packs of
CIFAR-10 with load_packs.py, which reads the packs, and resnet56_state_dict.pt, the trained CIFAR-10 teacher of
akamaster/pytorch_resnet_cifar10. The other teachers are trained here first, on labels alone. Budgets and losses stand
in `TASKS` and sizes in nets.py, settled on validation with other seeds before the reported runs; student and control
get the same. A run that is interrupted goes on where it stopped when it is started again.
"""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import save_file

from edgekd.compression import distill
from edgekd.data.split import Split
from edgekd.distillation.planning import usual_augment, usual_optimizer
from edgekd.figures import Number
from edgekd.image_options import IMAGENET_MEAN, IMAGENET_STD
from edgekd.judgement import Judgement
from edgekd.preprocessing import Dtype, Preprocessing
from edgekd.progress import Tick
from edgekd.tasks.table import find_task
from edgekd.training.data import TrainingData
from edgekd.training.loop import train
from edgekd.training.plan import Plan, learning_rate_for

HERE = Path(__file__).parent
TEACHER_BATCH = 64


@dataclass(frozen=True)
class Anchor:
    """A task with its budget: passes over train of the teacher (0: it comes trained) and of every student.

    Of a share `labelled` of the training samples labels are known, to the teacher that is trained here as to students;
    the others' are hidden. A pass is over all of them, and the control makes as many steps over the labelled ones.
    """

    data: str
    task: str
    teacher_epochs: int
    epochs: int
    batch_size: int = 128
    learning_rate: float | None = None
    seeds: int = 5
    losses: tuple[str, ...] = ()
    labelled: float = 1.0
    student: str | None = None
    """In nets.py, where it is not the data's usual one."""


TASKS = {
    "trec": Anchor("trec", "classification", teacher_epochs=10, epochs=100),
    "spoken_digits": Anchor("spoken_digits", "classification", teacher_epochs=20, epochs=60),
    "etth1": Anchor("etth1", "regression", teacher_epochs=8, epochs=30, losses=("squared_error=1", "labels=0")),
    "cifar10": Anchor("cifar10", "classification", teacher_epochs=0, epochs=3, seeds=3),
    "bccd": Anchor("bccd", "detection", teacher_epochs=40, epochs=40, batch_size=16, learning_rate=4e-3),
    "trec_few_labels": Anchor("trec", "classification", teacher_epochs=30, epochs=100, labelled=0.2),
    "trec_few_labels_wider": Anchor(
        "trec", "classification", teacher_epochs=30, epochs=100, labelled=0.2, student="trec_wider"
    ),
    "spoken_digits_few_labels": Anchor(
        "spoken_digits", "classification", teacher_epochs=200, epochs=60, labelled=0.1, student="spoken_digits_wider"
    ),
    "bccd_few_labels": Anchor(
        "bccd", "detection", teacher_epochs=160, epochs=30, batch_size=16, learning_rate=4e-3, labelled=0.2
    ),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--only", choices=TASKS, action="append")
    asked = options.parse_args()
    os.environ["ANCHORS_DATA"] = str(asked.data.resolve())
    sys.path.insert(0, str(HERE))
    lines = [row(name, run(name, TASKS[name], asked.out / name, asked.data)) for name in asked.only or TASKS]
    print("| task | teacher | student alone | distilled | gain | gap recovered | gain by seed |\n" + "|---" * 7 + "|")
    print("\n".join(lines))


def run(name: str, anchor: Anchor, out: Path, source: Path) -> Judgement:
    """Train what is not yet trained, and return what the teacher was worth."""
    from data import DATA  # type: ignore[import-not-found]

    out.mkdir(parents=True, exist_ok=True)
    file = out / "data.npz"
    if not file.is_file():
        np.savez(out / "partial.npz", **few_labels(DATA[anchor.data](), anchor.labelled))
        (out / "partial.npz").rename(file)
    teacher = source / "resnet56_state_dict.pt" if anchor.teacher_epochs == 0 else out / "teacher.safetensors"
    if not teacher.is_file():
        train_teacher(anchor, file, teacher, out)
    found = distill(
        str(teacher),
        arch=f"{HERE / 'nets.py'}:{anchor.data}_teacher",
        student=f"{HERE / 'nets.py'}:{anchor.student or f'{anchor.data}_student'}",
        data=str(file),
        task=anchor.task,
        epochs=anchor.epochs,
        batch_size=anchor.batch_size,
        learning_rate=anchor.learning_rate,
        seeds=anchor.seeds,
        loss=anchor.losses,
        out=out / "run",
        listen=show,
    )
    assert found.judgement is not None
    return found.judgement


def few_labels(arrays: dict[str, npt.NDArray[Any]], share: float) -> dict[str, npt.NDArray[Any]]:
    """Hide the labels of all but a share of train, drawn once."""
    if share == 1:
        return arrays
    order = np.random.default_rng(0).permutation(len(arrays["x_train"]))
    known, others = np.split(order, [round(share * len(order))])
    few = {f"{axis}_train": arrays[f"{axis}_train"][known] for axis in "xy"}
    return {**arrays, **few, "x_unlabelled": arrays["x_train"][others]}


def train_teacher(anchor: Anchor, file: Path, path: Path, out: Path) -> None:
    """Train the teacher on labels alone; a tenth of train stands in where there is no validation split."""
    import nets  # type: ignore[import-not-found]
    import torch

    with np.load(file) as stored:
        arrays = dict(stored)
    if "x_val" not in arrays:
        order = np.random.default_rng(0).permutation(len(arrays["x_train"]))
        cut = len(order) // 10
        for axis in "xy":
            whole = arrays[f"{axis}_train"]
            arrays[f"{axis}_val"], arrays[f"{axis}_train"] = whole[order[:cut]], whole[order[cut:]]
    splits = [Split(arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "val")]
    inputs = arrays["x_train"]
    how = preprocessing_of(inputs)
    torch.manual_seed(0)
    module = getattr(nets, f"{anchor.data}_teacher")()
    size = min(TEACHER_BATCH, anchor.batch_size)
    steps = -(-anchor.teacher_epochs * len(inputs) // size)
    task = find_task(anchor.task)
    optimizer = usual_optimizer(module, task)
    rate = anchor.learning_rate or learning_rate_for(optimizer, carries_weights=False, batch_size=size)
    plan = Plan(
        steps=steps,
        batch_size=size,
        optimizer=optimizer,
        learning_rate=rate,
        augment="none" if how.identity else usual_augment(how, task),
        evaluate_every=-(-steps // 10),
    )
    data = TrainingData(splits[0], splits[1], how, task)
    train(module, teacher=None, data=data, plan=plan, checkpoint=out / "teacher", phase="teacher", progress=show)
    save_file(module.state_dict(), path)


def preprocessing_of(inputs: npt.NDArray[Any]) -> Preprocessing:
    """What `distill` takes for granted of the same arrays."""
    if inputs.dtype == np.uint8:
        height, width, channels = inputs.shape[1:]
        return Preprocessing(height=height, width=width, channels=channels, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    dtype: Dtype = "int64" if inputs.dtype.kind == "i" else "float32"
    return Preprocessing(identity=True, input_shape=inputs.shape[1:], dtype=dtype)


def row(name: str, judged: Judgement) -> str:
    scores = judged.seed_scores
    cells = [scores.get(role) for role in ("teacher", "control", "student")]
    each = ", ".join(f"{100 * seed.gain.value:+.2f}" for seed in judged.seeds)
    figures = [*cells, judged.gain_over_seeds, judged.gap_recovered]
    return f"| {' | '.join([name, *map(shown, figures), each])} |"


def shown(number: Number | None) -> str:
    if number is None:
        return "not known"
    ends = "" if number.low is None or number.high is None else f" [{100 * number.low:.2f}, {100 * number.high:.2f}]"
    return f"{100 * number.value:.2f}{ends}"


def show(event: object) -> None:
    if isinstance(event, Tick) and event.done % 200 == 0:
        print(f"{event.phase} {event.done}/{event.total}  {event.detail}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
