"""A runtime's session options for one model: which of them take less memory without costing time, and how many threads
pay. Measured on this machine, memory in a fresh process each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from edgekd.errors import EdgekdError
from edgekd.figures import Number
from edgekd.places.host import PLACE
from edgekd.places.timing import bench, compare
from edgekd.ranking import interval_of
from edgekd.results import SessionTrial

SLOWER = 1.02
"""No session is taken whose cost, at the upper end of its interval, is more than this of the usual one's."""
LIGHTER = 0.98
"""Peak memory of one session varies by a few per cent from process to process; smaller gains count as none."""
PROCESSES = 3
"""Fresh processes behind a peak that may decide; the greatest of a lighter session lies below the least usual one."""


@dataclass(frozen=True)
class Entry:
    """One line of the menu: the file that is loaded, and the options that it is loaded with."""

    file: Path
    options: Mapping[str, Any] = field(default_factory=dict)


Weigh = Callable[[Entry], float]
"""Peak memory in KiB of one fresh process."""
Cost = Callable[[Entry, Entry], Number]
"""What the second costs relative to the first, in turns."""


def lightest(usual: Entry, menu: Sequence[Entry], weigh: Weigh, cost: Cost) -> tuple[Entry, tuple[SessionTrial, ...]]:
    """Return the session with the least peak memory among those that are not slower, and what was found of each.

    An entry that is no lighter in its first process is not looked at again; those that are get `PROCESSES`, and are
    timed against the usual session, the lightest first (of those alike, the first in the menu), until one is not
    slower.
    """
    entries = [usual, *menu]
    peaks = {0: [weigh(usual) for _ in range(PROCESSES)]}
    failed: dict[int, str] = {}
    for index, entry in enumerate(menu, start=1):
        try:
            peaks[index] = [weigh(entry)]
            if peaks[index][0] < LIGHTER * min(peaks[0]):
                peaks[index] += [weigh(entry) for _ in range(PROCESSES - 1)]
        except EdgekdError as error:  # the runtime refused the option, or died of it
            failed[index] = str(error).removeprefix(f"{entry.file.absolute()}: ")
    light = [index for index in peaks if index not in failed and max(peaks[index]) < LIGHTER * min(peaks[0])]
    costs: dict[int, Number] = {}
    taken = 0
    for index in _lightest_first(light, peaks):
        costs[index] = cost(usual, entries[index])
        if interval_of(costs[index])[1] <= SLOWER:
            taken = index
            break
    reasons = {index: failed.get(index) or _reason(index, light, costs, taken) for index in range(len(entries))}
    return entries[taken], tuple(
        SessionTrial(
            session=described(entry, usual),
            peak_memory_kib=_peak(peaks.get(index, [])),
            cost=costs.get(index),
            taken=index == taken,
            reason=reasons[index],
        )
        for index, entry in enumerate(entries)
    )


def fastest_threads(entry: Entry, most: int, cost: Cost) -> tuple[int, tuple[SessionTrial, ...]]:
    """Return how many threads are the fastest of 1, 2, 4, ..., `most`, and what was found; the first that is not
    faster than half as many ends it."""
    used, trials = 1, list[SessionTrial]()
    for threads in sorted({2**power for power in range(1, most.bit_length()) if 2**power < most} | {most} - {1}):
        ratio = cost(_with_threads(entry, used), _with_threads(entry, threads))
        faster = interval_of(ratio)[1] < 1
        reason = f"{'faster' if faster else 'not surely faster'} than with {used}"
        trials.append(SessionTrial(session={"threads": threads}, cost=ratio, taken=faster, reason=reason))
        if not faster:
            break
        used = threads
    return used, tuple(one.model_copy(update={"taken": one.session["threads"] == used}) for one in trials)


def measured_here(runtime: str, inputs: Path, *, seconds: float, threads: int = 1) -> tuple[Weigh, Cost]:
    """Return how peak memory and cost are taken on this machine, with at least `seconds` for each comparison."""

    def weigh(entry: Entry) -> float:
        taken = bench(
            entry.file,
            runtime=runtime,
            threads=threads,
            session=entry.options,
            inputs=inputs,
            min_runs=5,
            min_seconds=0.0,
            max_seconds=1.0,
        )
        return taken.memory.steady_kib

    def cost(usual: Entry, other: Entry) -> Number:
        return compare(
            usual.file,
            other.file,
            runtime_a=runtime,
            runtime_b=runtime,
            session_a=usual.options,
            session_b=other.options,
            inputs=inputs,
            threads=threads,
            min_seconds=seconds,
        )

    return weigh, cost


def described(entry: Entry, usual: Entry) -> dict[str, Any]:
    """The options and the file that are not the usual ones."""
    file = {} if entry.file == usual.file else {"file": entry.file.name}
    return {**file, **{key: value for key, value in entry.options.items() if usual.options.get(key) != value}}


def _lightest_first(light: Sequence[int], peaks: Mapping[int, Sequence[float]]) -> list[int]:
    """By median peak; those within `LIGHTER` of the least come first, in the menu's order."""
    by_peak = sorted(light, key=lambda index: median(peaks[index]))
    close = [index for index in light if LIGHTER * median(peaks[index]) <= median(peaks[by_peak[0]])]
    return close + [index for index in by_peak if index not in close]


def _reason(index: int, light: Sequence[int], costs: Mapping[int, Number], taken: int) -> str:
    if index == taken:
        return "the least memory of those that are not slower" if taken else "none takes less memory and is not slower"
    if index == 0:
        return "another takes less memory and is not slower"
    if index in costs:
        return "may be slower by more than 2 %"
    return f"takes no less memory than {'the one taken' if index in light else 'the usual one'}"


def _peak(kib: Sequence[float]) -> Number | None:
    return Number(value=median(kib), unit="KiB", word="measured", place=PLACE, n=len(kib)) if kib else None


def _with_threads(entry: Entry, threads: int) -> Entry:
    return Entry(entry.file, {**entry.options, "threads": threads})
