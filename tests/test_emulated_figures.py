"""Which core plays a device, what is refused before a run begins, and how many samples there is time for."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekd import emulated_figures as module
from edgekd.device import load_profile
from edgekd.emulated_figures import EmulatedCore, answers, core_for
from edgekd.errors import PlaceLost, UsageError
from edgekd.preflight import check_plan
from edgekd.progress import Tick
from edgekd.recipe import Recipe

CORE = EmulatedCore("cortex-a72", "1.31.1")


@pytest.fixture
def no_kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))


def doubling(path: Path, batch: int | str) -> Path:
    """y is twice x, (batch, 3) float16: the type is not that of the inputs it is given."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, [batch, 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubling", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("target", "words"), [("host", "host is measured"), ("intel-n100", "intel-n100 has no Arm processor")]
)
def test_what_is_no_arm_device_is_refused(target: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        core_for(load_profile(target))


def test_without_the_kit_a_plan_is_refused_with_what_fetches_it(no_kit: None) -> None:
    plan = Recipe(model="absent.onnx", target="raspberry-pi-4", emulate=True)
    version = load_profile("raspberry-pi-4").runtimes["onnxruntime"].version
    with pytest.raises(PlaceLost, match=f"edgekd doctor --on emulate:cortex-a72@{version} --install"):
        check_plan(plan.model_copy(update={"model": str(Path(__file__))}))


@pytest.mark.parametrize(
    ("batch", "processors", "runs"),
    [
        ("n", 1, [4, 6]),  # four take 4 s, which leaves 6 s for six more
        (1, 1, [4, 6]),
        (3, 1, [4]),  # four runs of three samples take longer than all there is
        (1, 2, [4, 4, 6, 6]),  # two at once
    ],
)
def test_as_many_samples_are_run_as_there_is_time_for(
    batch: int | str, processors: int, runs: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every sample takes a second of a processor, and there are ten."""
    clock, asked, ticks = [0.0], [], []

    def run(path: Path, samples: list[list[np.ndarray]], *, core: str, version: str) -> list[tuple[np.ndarray, ...]]:
        asked.append(len(samples))
        clock[0] += sum(len(one) for [one] in samples) / processors
        assert (core, version) == ("cortex-a72", "1.31.1") and all(one.dtype == np.float16 for [one] in samples)
        return [(2 * one,) for [one] in samples]

    monkeypatch.setattr(module, "emulated_outputs", run)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(module.os, "cpu_count", lambda: processors)
    inputs = np.arange(300, dtype=np.float32).reshape(100, 3)
    model = doubling(tmp_path / "m.onnx", batch)
    found = answers(model, CORE, lambda a, b: inputs[a:b], 100, seconds=10, listen=ticks.append)
    assert asked == runs and found.dtype == np.float32
    assert len(found) == sum(runs) * (batch if isinstance(batch, int) else 1)
    assert found.tolist() == (2 * inputs[: len(found)]).tolist()
    assert isinstance(ticks[-1], Tick) and (ticks[-1].done, ticks[-1].seconds_left) == (len(found), 0.0)


def test_a_batch_that_is_not_full_is_filled_up_and_the_filling_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "emulated_outputs", lambda path, samples, **_: [(2 * one,) for [one] in samples])
    inputs = np.arange(15, dtype=np.float32).reshape(5, 3)
    found = answers(doubling(tmp_path / "m.onnx", 3), CORE, lambda a, b: inputs[a:b], 5, seconds=60)
    assert found.tolist() == (2 * inputs).tolist()
