"""The fronts by name, how one is written, NAME=ARGUMENTS, and how several are built in a row."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from edgekd.errors import UsageError, did_you_mean, one_line
from edgekd.fronts.average import bands, resize
from edgekd.fronts.fronted import Fronts
from edgekd.fronts.log_mel import log_mel
from edgekd.fronts.pca import pca
from edgekd.fronts.place import Place
from edgekd.record import Record


class FrontSpec(Record):
    """One front as the user wrote it: its name, and the settings that were given, by name."""

    name: str
    options: dict[str, Any] = {}


def parse_front(text: str) -> FrontSpec:
    """Read "log_mel=40,n_fft=256": values in order, then settings by name. Raises UsageError."""
    name, _, rest = (part.strip() for part in text.partition("="))
    if name not in FRONTS:
        raise UsageError(f"There is no front {one_line(name[:40])!r}{did_you_mean(name, FRONTS)}")
    hints = get_type_hints(FRONTS[name], include_extras=True)
    parameters = list(inspect.signature(FRONTS[name]).parameters.values())[1:]
    in_order = [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY]
    known = [one.name for one in parameters]
    form = f"{name}={','.join(one.upper() for one in in_order)}" if in_order else name
    options: dict[str, Any] = {}
    for at, part in enumerate(part.strip() for part in rest.split(",") if rest):
        key, named, value = (piece.strip() for piece in part.partition("="))
        if not named:
            if at >= len(in_order):
                raise UsageError(f"{one_line(text[:60])!r} has too many values; write it like {form}")
            key, value = in_order[at], key
        if key not in known or key in options:
            raise UsageError(f"{name} has no setting {one_line(key[:40])!r}, or twice{did_you_mean(key, known)}")
        try:
            options[key] = TypeAdapter(hints[key]).validate_strings(value)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].lower()
            raise UsageError(f"{name}'s {key} is {one_line(value[:40])!r}: {reason}") from None
    if any(key not in options for key in in_order):
        raise UsageError(f"{one_line(text[:60])!r} lacks a value; write it like {form}")
    return FrontSpec(name=name, options=options)


def build_fronts(specs: Sequence[FrontSpec], place: Place) -> Fronts:
    """Build fronts in a row before which inputs as `place` says arrive. Raises UsageError where one does not fit."""
    built: list[nn.Module] = []
    for spec in specs:
        here = place
        if built:
            before = nn.Sequential(*built)
            here = replace(place, shape=shape_behind(before, place.shape), train=_through(before, place.train))
        built.append(FRONTS[spec.name](here, **spec.options))
    plan = {"fronts": [spec.model_dump(mode="json") for spec in specs], "sample_rate": place.sample_rate}
    return Fronts(*built, plan=plan)


def rebuild_fronts(plan: dict[str, Any], example: Tensor) -> Fronts:
    """Build the fronts of a stored plan before `example` (batch, ...); what was fitted is zero, to be loaded."""
    specs = [FrontSpec.model_validate(spec) for spec in plan["fronts"]]
    return build_fronts(specs, Place(tuple(example.shape[1:]), plan["sample_rate"]))


@torch.no_grad()
def shape_behind(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of one input of `shape` behind `module`."""
    return tuple(module(torch.zeros(1, *shape)).shape[1:])


def _through(before: nn.Module, train: Callable[[], Iterator[Tensor]] | None) -> Callable[[], Iterator[Tensor]] | None:
    return None if train is None else partial(_passed, before, train)


@torch.no_grad()
def _passed(before: nn.Module, train: Callable[[], Iterator[Tensor]]) -> Iterator[Tensor]:
    yield from (before(batch) for batch in train())


def channel(place: Place) -> nn.Module:
    """Build the front that gives inputs (...) one channel (1, ...), as nets for images take frames."""
    return nn.Unflatten(1, (1, place.shape[0]))


FRONTS: dict[str, Callable[..., nn.Module]] = {
    "log_mel": log_mel,
    "resize": resize,
    "bands": bands,
    "pca": pca,
    "channel": channel,
}
