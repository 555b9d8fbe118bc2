"""The menu of session options, measured for real on a small model with heavy weights."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.artifact.runtimes.ort_format import MAPPED_FILE, ORT_FILE
from edgekd.device import resolve
from edgekd.errors import BadInput
from edgekd.figures import Number
from edgekd.places.sessions import Entry
from edgekd.progress import silent
from edgekd.results import Candidate
from edgekd.schemes.offered import PRECISION
from edgekd.stages import configure as configure_module
from edgekd.stages.configure import configure

pytestmark = pytest.mark.slow


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """One matrix product by 32 MiB of weights, and an input for it."""
    weights = np.random.default_rng(0).standard_normal((2048, 4096)).astype(np.float32)
    shapes = {"input": [1, 2048], "logits": [1, 4096]}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    nodes = [helper.make_node("MatMul", ["input", "weights"], ["logits"])]
    graph = helper.make_graph(nodes, "heavy", ends[:1], ends[1:], [numpy_helper.from_array(weights, "weights")])
    path = tmp_path / "fp32.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    np.save(tmp_path / "input.npy", np.ones((1, 2048), np.float32))
    return path


def configured(model: Path, target: str, session: dict[str, Any], runtime: str = "onnxruntime"):
    chosen = Candidate(
        id=f"fp32-{runtime}",
        scheme="fp32",
        runtime=runtime,
        session=session,
        file=model.name,
        sha256="0" * 64,
        chosen=True,
    )
    return configure(
        chosen=chosen,
        files=model.parent,
        profile=resolve(target).profile,
        inputs=model.parent / "input.npy",
        seconds=0.4,
        listen=silent,
    )


def test_every_entry_runs_in_a_process_of_its_own_and_the_session_is_that_of_the_one_taken(model):
    found = configured(model, "host", {"threads": 1})
    sessions = [trial for trial in found.trials if "threads" not in trial.session]
    assert len(sessions) == 9
    for trial in sessions:  # nothing refused an option, and the weights are in every peak
        assert trial.peak_memory_kib is not None and trial.peak_memory_kib.value > 32 * 1024
        assert (trial.peak_memory_kib.word, trial.peak_memory_kib.place) == ("measured", "host")
    [taken] = [trial for trial in sessions if trial.taken]
    threads = found.chosen.session["threads"]
    assert found.chosen.session == {"threads": threads, **taken.session}
    if found.chosen.session != {"threads": 1}:  # then the figures are those of the session that ships
        assert found.chosen.host is not None and found.chosen.latency_p50_ms == found.chosen.host.latency.p50_ms
        assert found.chosen.host.session["intra_op_num_threads"] == threads


def test_more_threads_are_said_with_the_latency_that_they_give(model, monkeypatch):
    monkeypatch.setattr(configure_module, "fastest_threads", lambda *_: (2, ()))
    monkeypatch.setattr(configure_module, "lightest", lambda usual, *_: (usual, ()))
    found = configured(model, "host", {"threads": 1}).chosen
    assert found.session == {"threads": 2}
    assert found.host is not None and found.host.session == {"intra_op_num_threads": 2}
    assert found.reason.endswith("; its latency is with 2 threads, that of the others with one")


def test_the_precision_of_a_scheme_stays_in_its_session_and_is_run_as_this_machine_can(model, monkeypatch):
    seen = []
    monkeypatch.setattr(configure_module, "fastest_threads", lambda entry, *_: (seen.append(entry), (1, ()))[1])
    monkeypatch.setattr(configure_module, "on_this_machine", lambda options: {**options, PRECISION: "f32"})
    session = {"threads": 1, PRECISION: "f16"}
    found = configured(model, "host", session, runtime="openvino")
    assert [entry.options for entry in seen] == [{PRECISION: "f32"}]
    assert found.chosen.session == session and found.chosen.host is None


def test_another_target_keeps_its_threads_and_what_its_own_format_gains_here_is_taken_over(model, monkeypatch):
    def weigh(entry: Entry) -> float:
        assert entry.file.is_file()
        return 100.0 - 30 * (entry.file.name == MAPPED_FILE) - 10 * len(entry.options)

    alike = Number(value=1.0, low=0.99, high=1.01, level=0.99, unit="x", word="measured", place="host", n=9)
    monkeypatch.setattr(configure_module, "measured_here", lambda *_, **__: (weigh, lambda *_: alike))
    found = configured(model, "raspberry-pi-5", {"threads": 4})
    assert len(found.trials) == 9
    expected = {"threads": 4, "file": MAPPED_FILE, "memory_pattern": False, "arena": False}
    assert found.chosen.session == expected
    assert found.chosen.host is None and found.chosen.latency_p50_ms is None


def test_what_cannot_be_written_in_the_runtimes_own_format_does_not_compete_in_it(model, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise BadInput("no")

    monkeypatch.setattr(configure_module, "WRITE", dict.fromkeys((ORT_FILE, MAPPED_FILE), refuse))
    found = configured(model, "raspberry-pi-5", {"threads": 4})
    assert len(found.trials) == 4 and not any("file" in trial.session for trial in found.trials)
