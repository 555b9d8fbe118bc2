"""The benchmark itself: one fresh process that holds numpy, the runtimes asked for and the models, and nothing else.

    python -P benchmark_program.py SPEC.json RESULT.json

    SPEC    {"models": [{"path", "runtime", "session"}], "threads", "seed", "warmup", "min_runs", "min_seconds",
             "max_seconds", ["inputs"]: an .npy file of what is fed to models of one input, ["resumable"]}
    RESULT  {"stage", "boot_id", "memory", "models": [{"session", "load_ms", "first_ms", "warmup_runs", "wall_ms",
             "cpu_ms"}], "runs", "seconds", "preempted", "conditions"}, or what is known of it and "error"

Several models are run in turn, A B B A A B, so that whatever disturbs the machine disturbs all of them alike, and none
always gets the caches that the other left. RESULT is rewritten after every stage, and in a resumable benchmark every
second: where the process is killed it still says how far it came and how much memory it had. Where RESULT's folder is
gone the program ends. This file imports nothing of edgekd, so that it can be copied alone to a board.
"""

from __future__ import annotations

import array
import contextlib
import functools
import gc
import glob
import importlib
import json
import os
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BOOT_ID = "/proc/sys/kernel/random/boot_id"
KEPT_SAMPLES = 5000
"""Samples written per model; thinning leaves percentiles as they are."""


@dataclass(frozen=True)
class InputSpec:
    """One input of a model; a symbolic dimension is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Session:
    """A loaded model. `run` takes the inputs in order and returns the outputs in order, and may be called from several
    threads at once; `options` are the session options in force."""

    inputs: tuple[InputSpec, ...]
    options: dict[str, Any]
    run: Callable[[Sequence[Array]], list[Array]]


def import_runtime(name: str) -> Any:
    """Import a runtime or nncf without telemetry: all of them report home unless told otherwise before."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    if name in ("openvino", "nncf"):
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module(name)


def open_onnxruntime(path: str, threads: int, options: dict[str, Any]) -> Session:
    """Load an ONNX or ORT file on ONNX Runtime's CPU provider; `options` are session config entries by key, besides
    `arena`, `memory_pattern` and `prepacking`, which are True by default."""
    onnxruntime = import_runtime("onnxruntime")
    onnxruntime.set_default_logger_severity(3)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    settings.log_severity_level = 3
    settings.enable_cpu_mem_arena, settings.enable_mem_pattern, entries = onnxruntime_options(options)
    for key, value in entries.items():
        settings.add_session_config_entry(key, value)
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    inputs = tuple(
        InputSpec(i.name, numpy_dtype(i.type), tuple(d if isinstance(d, int) else None for d in i.shape))
        for i in session.get_inputs()
    )
    names = [i.name for i in inputs]
    in_force = {"intra_op_num_threads": threads, **options}
    return Session(inputs, in_force, lambda feeds: session.run(None, dict(zip(names, feeds, strict=True))))


def onnxruntime_options(options: dict[str, Any]) -> tuple[bool, bool, dict[str, str]]:
    """Return whether arena and memory pattern are on, and the session config entries in order."""
    named = {name: options.get(name, True) for name in ("arena", "memory_pattern", "prepacking")}
    entries = {"session.disable_prepacking": int(not named["prepacking"]), **options}
    entries = {key: str(entries[key]) for key in sorted(entries.keys() - named.keys())}
    return named["arena"], named["memory_pattern"], entries


def open_openvino(path: str, threads: int, options: dict[str, Any]) -> Session:
    """Load an ONNX file on OpenVINO's CPU plugin, tuned for latency; `options` are plugin properties.

    Precision is pinned to f32: on CPUs with bf16 the plugin would otherwise round every float layer unasked.
    """
    openvino = import_runtime("openvino")
    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
    settings = {**settings, "INFERENCE_PRECISION_HINT": "f32", **options}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    local = threading.local()

    def described(port: Any) -> InputSpec:
        shape = tuple(d.get_length() if d.is_static else None for d in port.get_partial_shape())
        return InputSpec(port.get_any_name(), port.get_element_type().to_dtype().name, shape)

    def run(feeds: Sequence[Array]) -> list[Array]:
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        results = local.request.infer(list(feeds))
        return [results[port] for port in compiled.outputs]

    def in_force(key: str) -> Any:  # as JSON holds it; an element type is its name, "f32"
        value = compiled.get_property(key)
        name = getattr(value, "get_type_name", lambda: str(value))
        return value if isinstance(value, bool | int | float) else name()

    return Session(tuple(map(described, compiled.inputs)), {key: in_force(key) for key in settings}, run)


OPEN = {"onnxruntime": open_onnxruntime, "openvino": open_openvino}


def numpy_dtype(onnx_type: str) -> str:
    """Turn ONNX Runtime's "tensor(float)" into numpy's "float32"."""
    element = onnx_type.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(element, element)


def made_up_input(spec: InputSpec, rng: np.random.Generator) -> Array:
    """Draw one input: standard normal where it is float, ones for masks, zeros (a valid index) for integers."""
    if None in spec.shape[1:]:
        raise ValueError(f"input {spec.name!r} has a free dimension besides the batch: {list(spec.shape)}; fix it")
    shape = [1 if size is None else size for size in spec.shape]
    if spec.dtype.startswith("float"):
        return rng.standard_normal(shape, np.float32).astype(spec.dtype)
    return np.full(shape, spec.dtype == "bool" or "mask" in spec.name.lower()).astype(spec.dtype)


def peak_kib() -> float:
    """Peak resident set of this process in KiB. Where there is no /proc, getrusage says it (in bytes on macOS)."""
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next(float(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "darwin" else 1)


def conditions() -> dict[str, float]:
    """The machine's state as far as files tell it: load, highest clock, highest temperature, throttling bits."""
    found = {"load": os.getloadavg()[0]}
    for name, pattern, base, unit in (
        ("clock_mhz", "/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq", 10, 1e3),
        ("temperature_c", "/sys/class/thermal/thermal_zone*/temp", 10, 1e3),
        ("throttled", "/sys/devices/platform/soc/soc:firmware/get_throttled", 16, 1.0),
    ):
        values = []
        for path in glob.glob(pattern):
            with contextlib.suppress(OSError, ValueError), open(path, encoding="ascii") as file:
                values.append(int(file.read(), base) / unit)
        if values:
            found[name] = max(values)
    return found


def boot_id() -> str | None:
    """Return what the kernel calls this boot, or None where it does not say."""
    return open(BOOT_ID, encoding="ascii").read().strip() if os.access(BOOT_ID, os.R_OK) else None


def timed(run: Callable[[], object]) -> tuple[int, int]:
    """Run once; return wall and process CPU time in nanoseconds."""
    cpu = time.process_time_ns()
    wall = time.perf_counter_ns()
    run()
    wall = time.perf_counter_ns() - wall
    return wall, time.process_time_ns() - cpu


def warm_up(run: Callable[[], object], at_most: int, seconds: float) -> int:
    """Run until the median of the last 5 wall times is within 5 % of the 5 before; return how many runs that took."""
    walls: list[int] = []
    end = time.perf_counter() + seconds
    while len(walls) < at_most and time.perf_counter() < end:
        walls.append(timed(run)[0])
        if len(walls) >= 10:
            before, last = statistics.median(walls[-10:-5]), statistics.median(walls[-5:])
            if abs(last - before) <= 0.05 * before:
                break
    return len(walls)


def measure(
    runs: list[Callable[[], object]], spec: dict[str, Any], keep: Callable[..., None] = lambda *_: None
) -> tuple[list[array.array[int]], list[array.array[int]], dict[str, Any]]:
    """Time all models in turn until there are enough rounds and seconds; a resumable one is kept every second.

    Returns wall and process CPU times in nanoseconds, one array per model, and what went on meanwhile.
    """
    wall, cpu = ([array.array("q") for _ in runs] for _ in range(2))
    order = list(zip(runs, wall, cpu, strict=True))
    meanwhile: dict[str, Any] = {"conditions": [conditions()]}
    preempted = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    start = time.perf_counter()
    more = True
    gc.disable()
    while more:
        for run, walls, cpus in order:
            wall_ns, cpu_ns = timed(run)
            walls.append(wall_ns)
            cpus.append(cpu_ns)
        order.reverse()
        seconds = time.perf_counter() - start
        more = seconds < spec["max_seconds"] and (len(wall[0]) < spec["min_runs"] or seconds < spec["min_seconds"])
        if seconds > len(meanwhile["conditions"]) or not more:
            switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - preempted
            meanwhile.update(runs=len(wall[0]), seconds=seconds, preempted=switches)
            meanwhile["conditions"].append(conditions())
            if more and spec.get("resumable"):
                keep(wall, cpu, meanwhile)
    gc.enable()
    return wall, cpu, meanwhile


def kept_ms(nanoseconds: array.array[int]) -> list[float]:
    """Turn samples into milliseconds; where too many, every k-th, k odd so that both orders of a pair stay."""
    return [ns / 1e6 for ns in nanoseconds[:: -(-len(nanoseconds) // KEPT_SAMPLES) | 1]]


def benchmark(spec: dict[str, Any], result: dict[str, Any], save: Callable[[dict[str, Any]], None]) -> None:
    """Take every figure of `spec` into `result`, and save it after each stage."""

    def reached(stage: str, following: str) -> None:
        result["memory"][stage] = peak_kib()
        result["stage"] = following
        save(result)

    save(result)
    for name in sorted({model["runtime"] for model in spec["models"]}):
        import_runtime(name)
    draw = np.random.default_rng  # numpy imports this part on first use: now, so that the model is not charged for it
    reached("import", "load")
    given = np.load(spec["inputs"], allow_pickle=False) if spec.get("inputs") else None
    runs: list[Callable[[], object]] = []
    for model in spec["models"]:
        start = time.perf_counter()
        options = dict(model["session"])
        session = OPEN[model["runtime"]](model["path"], options.pop("threads", spec["threads"]), options)
        load_ms = (time.perf_counter() - start) * 1e3
        rng = draw(spec["seed"])  # the same inputs for all
        inputs = [made_up_input(one, rng) if given is None else given.astype(one.dtype) for one in session.inputs]
        runs.append(functools.partial(session.run, inputs))
        result["models"].append({"session": session.options, "load_ms": load_ms})
    reached("load", "first")
    for run, entry in zip(runs, result["models"], strict=True):
        entry["first_ms"] = timed(run)[0] / 1e6
    reached("first", "steady")
    for run, entry in zip(runs, result["models"], strict=True):
        entry["warmup_runs"] = warm_up(run, spec["warmup"], spec["max_seconds"])

    def keep(wall: list[array.array[int]], cpu: list[array.array[int]], meanwhile: dict[str, Any]) -> None:
        result["memory"].setdefault("steady", peak_kib())  # the first time: what is kept here is no need of the model's
        for entry, walls, cpus in zip(result["models"], wall, cpu, strict=True):
            entry.update(wall_ms=kept_ms(walls), cpu_ms=kept_ms(cpus))
        save({**result, **meanwhile})

    timings = measure(runs, spec, keep)
    result["stage"] = "done"
    keep(*timings)


def main(spec_path: str, result_path: str) -> int:
    """Read the spec, write the result; a failure becomes its "error" and exit status 1."""

    def save(result: dict[str, Any]) -> None:
        with open(result_path + ".part", "w", encoding="utf-8") as file:
            json.dump(result, file)
        os.replace(result_path + ".part", result_path)

    with open(spec_path, encoding="utf-8") as file:
        spec = json.load(file)
    result: dict[str, Any] = {"stage": "import", "boot_id": boot_id(), "memory": {}, "models": []}
    try:
        benchmark(spec, result, save)
    except Exception as error:  # whatever a runtime raises, the parent says it in one sentence
        save({**result, "error": str(error) or type(error).__name__})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
