"""The `predict` command: one ONNX file, one device or all of them."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from edgekd.device import DeviceProfile, list_profiles, resolve
from edgekd.errors import BadInput, UsageError
from edgekd.latency.conversion import Work
from edgekd.latency.graph import GraphSummary
from edgekd.latency.optimised import summarise_file
from edgekd.latency.predictor import Prediction, predict_summary, unknown
from edgekd.latency.x86 import is_x86_profile
from edgekd.latency.x86_prediction import costs_of, priced
from edgekd.record import Record
from edgekd.workspace import file_sha256

log = logging.getLogger(__name__)

Count = Callable[[GraphSummary, DeviceProfile], Sequence[Work]]
"""Counts what the summarised file executes on a device."""


class PredictedModel(Record):
    """The file that was looked at; `macs` and `params` are for a batch of one."""

    sha256: str
    macs: int
    params: int


class Predictions(Record):
    """`predict --json`. `notes` are sentences on what was taken for what, and what was not counted."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    model: PredictedModel
    predictions: tuple[Prediction, ...]
    notes: tuple[str, ...] = ()


def predict_file(
    path: Path, *, target: str = "all", threads: int | None = None, count: Count | None = None
) -> Predictions:
    """Estimate an ONNX file on one device, or on every device that a profile ships for ("all"); with `count`, from the
    instructions that it counts.

    With "all", a device that cannot be estimated has its reason in `error`; more threads than a device has cores are
    such a reason. Raises UsageError for an unknown device or impossible threads on one device, BadInput for a file
    that is not a model or whose work cannot be counted.
    """
    profiles, notes = (list_profiles(), ()) if target == "all" else _named(target)
    by_arm = {arm: summarise_file(path, arm=arm) for arm in {not is_x86_profile(profile) for profile in profiles}}
    summary = next(iter(by_arm.values()))
    notes += _not_counted(summary)
    found: list[Prediction] = []
    for profile in profiles:
        try:
            nodes = by_arm[not is_x86_profile(profile)]
            counted = count(nodes, profile) if count else None
            one = predict_summary(nodes, profile, threads=threads, counted=counted)
            if is_x86_profile(profile):
                costs, note = costs_of(profile)
                notes += (note,) if note else ()
                one = priced(one, path, profile, costs=costs)
            found.append(one)
        except (BadInput, UsageError) as error:
            if target != "all":
                raise
            used = threads or profile.latency.threads
            found.append(unknown(profile, "onnxruntime", used, summary.precision, str(error)))
    for note in notes:
        log.info(note)
    return Predictions(
        model=PredictedModel(sha256=file_sha256(path), macs=summary.macs, params=summary.params),
        predictions=tuple(found),
        notes=notes,
    )


def _named(target: str) -> tuple[list[DeviceProfile], tuple[str, ...]]:
    resolved = resolve(target)
    return [resolved.profile], (resolved.note,) if resolved.note else ()


def _not_counted(summary: GraphSummary) -> tuple[str, ...]:
    notes: list[str] = []
    if summary.unsized:
        notes.append(
            f"the size of what {len(summary.unsized)} operators write is known only when they run, the first is "
            f"{summary.unsized[0]}: their work and memory are not counted"
        )
    if summary.hidden:
        notes.append(f"{summary.hidden} loops or branches were not looked into: their work and memory are not counted")
    return tuple(notes)
