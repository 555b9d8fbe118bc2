"""How long each operator of a graph takes on this machine, one thread, by the runtime's own profiler."""

import json
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper

from edgekd.calibration.draft import Draft

Feed = dict[str, npt.NDArray[np.float32] | npt.NDArray[np.int64]]
_WARM, _FEWEST = 5, 10


def numbered(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Give every node a name of its own, by which the profiler's events are found again."""
    for at, node in enumerate(graph.graph.node):
        node.name = f"node{at}"
    return graph


def graph_time(graph: onnx.ModelProto, *, seconds: float) -> float:
    """Return nanoseconds of process CPU time of one inference: the mean of the fastest tenth."""
    session = opened(graph.SerializeToString(), session_options())
    feed, taken = feed_of(session), list[int]()
    for _ in range(_WARM):
        session.run(None, feed)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < _FEWEST:
        start = time.process_time_ns()
        session.run(None, feed)
        taken.append(time.process_time_ns() - start)
    return statistics.mean(sorted(taken)[: max(len(taken) // 10, 3)])


def node_times(graph: onnx.ModelProto, *, seconds: float) -> dict[str, float]:
    """Run an optimised graph as it is for `seconds`, and return nanoseconds by node name: the mean of the fastest
    tenth of the runs, because what is profiled is wall time, which slower runs have shared with other processes."""
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        options = session_options()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = opened(graph.SerializeToString(), options)
        feed = feed_of(session)
        for _ in range(_WARM):
            session.run(None, feed)
        end, runs = time.perf_counter() + seconds, 0
        while time.perf_counter() < end or runs < _FEWEST:
            session.run(None, feed)
            runs += 1
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    taken: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event["name"].endswith("_kernel_time"):
            taken[event["name"].removesuffix("_kernel_time")].append(event["dur"])
    # The profiler cuts to whole microseconds: half of one is missing on average.
    return {
        name: 1e3 * (statistics.mean(sorted(all_[_WARM:])[: max(runs // 10, 3)]) + 0.5) for name, all_ in taken.items()
    }


def inference_time() -> float:
    """Return nanoseconds of CPU time of one inference that no operator takes, from chains of nodes whose kernels have
    next to nothing to do."""
    short, long = (cpu_time(chain(count), repeats=50, runs=100) for count in (5, 105))
    return max(short - 5 * (long - short) / 100, 0.0)


class Reference:
    """A kernel of always the same work. What it takes tells how fast the machine is right now: clocks rise and fall,
    and neighbours on the same chip come and go."""

    def __init__(self) -> None:
        draft = Draft((1, 64, 28, 28))
        x = draft.activation(draft.convolution("input", 64, 3), "Relu")
        draft.activation(draft.convolution(x, 64, 3, groups=64), "Relu")
        self.model = draft.model().SerializeToString()
        self._session = opened(self.model, session_options())
        self._feed = feed_of(self._session)

    def nanoseconds(self, *, runs: int = 20) -> float:
        """Process CPU time of one run: the mean of the three fastest."""
        taken = []
        for _ in range(runs):
            start = time.process_time_ns()
            self._session.run(None, self._feed)
            taken.append(time.process_time_ns() - start)
        return statistics.mean(sorted(taken)[:3])


def cpu_time(model: bytes, *, repeats: int, runs: int) -> float:
    """Return process CPU time of one inference in nanoseconds: the first quartile of `repeats` means over `runs`."""
    session = opened(model, session_options())
    feed, taken = feed_of(session), []
    for _ in range(repeats):
        start = time.process_time_ns()
        for _ in range(runs):
            session.run(None, feed)
        taken.append((time.process_time_ns() - start) / runs)
    return float(np.percentile(taken, 25))


def chain(count: int) -> bytes:
    """Return a model of so many nodes, one after the other, whose kernels have next to nothing to do."""
    nodes = [helper.make_node("Neg", [f"t{at}"], [f"t{at + 1}"], f"n{at}") for at in range(count)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 16)) for name in ("t0", f"t{count}")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def session_options() -> onnxruntime.SessionOptions:
    """Return options for one thread that run an optimised graph as it is."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def opened(model: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """Return a session on the CPU."""
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def feed_of(session: onnxruntime.InferenceSession) -> Feed:
    """Return made-up inputs of fixed shapes: normal where they are float, else whole numbers below 100."""
    generator = np.random.default_rng(0)
    return {
        value.name: generator.standard_normal(value.shape, np.float32)
        if "float" in value.type
        else generator.integers(0, 100, value.shape)
        for value in session.get_inputs()
    }
