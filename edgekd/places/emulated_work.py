"""What a model executes on an Arm device, counted with the device's own runtime under emulation."""

import functools
from pathlib import Path

from edgekd.device import DeviceProfile
from edgekd.emulation.cores import CORES
from edgekd.emulation.count import Counts, count
from edgekd.errors import UsageError
from edgekd.latency.conversion import Work
from edgekd.latency.counted import works_of
from edgekd.latency.graph import GraphSummary
from edgekd.latency.predictions import Count
from edgekd.numerics import is_arm

_BY_LEVEL = {"neon": "cortex-a72", "dotprod": "cortex-a76"}
"""Plays a core that cannot be emulated itself: kernels are chosen by instruction set."""


def emulated_core(profile: DeviceProfile) -> str:
    """Return the core to emulate for a device: its own, or one of its instruction set.

    Raises:
        UsageError: the device has no Arm processor.
    """
    if not is_arm(profile.isa):
        raise UsageError(f"{profile.name} has no Arm processor, so nothing is emulated for it; leave out --emulate.")
    own = CORES.get(profile.core.lower())
    return own.name if own and not own.nearest else _BY_LEVEL[profile.latency.level]


def counting(path: Path) -> Count:
    """Return what counts the model at `path` for a device, once for all that share core and runtime version.

    It raises what `emulated_core` and `edgekd.emulation.count.count` do.
    """

    @functools.cache
    def counts(core: str, version: str) -> Counts:
        return count(path, core=core, version=version, by_node=True)

    def works(summary: GraphSummary, profile: DeviceProfile) -> tuple[Work, ...]:
        version = profile.runtimes["onnxruntime"].version
        return works_of(counts(emulated_core(profile), version).nodes, summary)

    return works
