"""Outputs of the emulated kernels beside those of this machine."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from edgekd.emulation import outputs as module
from edgekd.emulation.outputs import emulated_outputs
from edgekd.progress import Tick

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("core", ["cortex-a53", "cortex-a76"])
def test_floats_agree_with_this_machine_in_order(
    core: str, graph_of: Callable[..., Path], version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((8, 3, 3, 3), np.float32), "v": rng.standard_normal((8, 5), np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "v"], ["y"]),
    ]
    path = graph_of(nodes, weights, [1, 3, 16, 16])
    samples = rng.standard_normal((5, 1, 3, 16, 16), np.float32)
    ticks: list[object] = []
    monkeypatch.setattr(module, "SHARE", 3)  # five samples are two processes
    found = emulated_outputs(path, [[sample] for sample in samples], core=core, version=version, listen=ticks.append)
    here = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for sample, (ours,) in zip(samples, found, strict=True):
        (theirs,) = here.run(None, {"x": sample})
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())
    assert [(tick.done, tick.total) for tick in ticks if isinstance(tick, Tick)] == [(3, 5), (5, 5)]
