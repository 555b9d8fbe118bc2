"""Trainings that are compared: everything that they share, and how one of them is done or taken up again."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from edgekd.fronts.fronted import Fronts
from edgekd.progress import Listener
from edgekd.training import processes
from edgekd.training.checkpoint import identity_of
from edgekd.training.data import TrainingData
from edgekd.training.loop import Evaluated, Trained, train, unheard
from edgekd.training.plan import Plan
from edgekd.training.precision import Accelerator
from edgekd.training.teacher_cache import TeacherCache

CACHE_BYTES = 2 << 30
"""What a teacher cache may take of the disk."""
KEPT_LOGITS = 128
"""Of a row of more classes, the largest are kept. Of 100 classes with broad tails, 32 cost 0.04 nats under standardised
logits, measured on synthetic rows, and all 100 cost nothing for 0.2 KiB a view."""


@dataclass(frozen=True)
class Contest:
    """The setting of a comparison: the same student, data and budget for all who take part.

    folder: where checkpoints and weights are kept.
    student: the untrained student; every training starts from a copy of it.
    fresh: makes the student of a further seed, by its number from 1, where new weights are drawn for each; None where
        all start with the teacher's.
    """

    folder: Path
    student: nn.Module
    teacher: nn.Module
    data: TrainingData
    plan: Plan
    accelerator: Accelerator
    cache: TeacherCache | None
    listen: Listener
    fresh: Callable[[int], nn.Module] | None = None


@dataclass(frozen=True)
class Entry:
    """One who took part: its weights are in `module` and in the file `weights`."""

    name: str
    module: nn.Module
    trained: Trained
    weights: Path


def enter(
    contest: Contest,
    name: str,
    *,
    taught: bool,
    plan: Plan | None = None,
    data: TrainingData | None = None,
    teacher: nn.Module | None = None,
    evaluated: Evaluated = unheard,
) -> Entry:
    """Train a copy of the student, with the teacher if `taught`, or take it over where that was done before.

    `plan`, `data` and `teacher` are the contest's own unless given; `evaluated` hears every score on validation. The
    weights end in `entries/NAME.safetensors`.

    Raises what `edgekd.training.loop.train` raises.
    """
    module = copy.deepcopy(contest.student)
    trained = train(
        module,
        teacher=(teacher or contest.teacher) if taught else None,
        data=data or contest.data,
        plan=plan or contest.plan,
        accelerator=contest.accelerator,
        checkpoint=contest.folder / "checkpoints" / name,
        cache=contest.cache if taught and teacher is None and data is None else None,
        phase=name,
        progress=contest.listen,
        evaluated=evaluated,
    )
    path = contest.folder / "entries" / f"{name}.safetensors"
    save_weights(module, path)
    return Entry(name, module, trained, path)


def open_cache(
    folder: Path, teacher: nn.Module, data: TrainingData, plan: Plan, limit_bytes: int = CACHE_BYTES
) -> TeacherCache:
    """Open the cache of what this teacher says of views of these data. Raises BadInput where it is another's."""
    how = getattr(getattr(teacher, "how", None), "__name__", "")  # of an ensemble: its weights are among its buffers
    settings = [data.preprocessing.model_dump(mode="json"), plan.augment, plan.mixup, plan.teacher_precision, how]
    settings += [module.plan for module in teacher.modules() if isinstance(module, Fronts)]
    identity = identity_of(settings=settings, modules=[teacher], arrays=[data.train.inputs])
    logits = data.task.name == "classification"
    return TeacherCache.open(folder, identity, limit_bytes, logits=logits, kept=KEPT_LOGITS)


def save_weights(module: nn.Module, path: Path) -> None:
    """Write weights without pickle; cloned, because safetensors refuses tensors that share memory.

    Of several processes the first writes, and all go on when the file is there.
    """
    weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()}
    if processes.leads():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(weights, path)
    processes.barrier()


def seeded(plan: Plan, offset: int) -> Plan:
    """The same plan with another order of samples and other random numbers, over the same views."""
    return plan.model_copy(update={"seed": plan.seed + offset})
