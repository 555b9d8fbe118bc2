"""Graphs around models that do nothing, so that what an app graph adds is all there is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

from edgekd.artifact.app.graph import app_graph
from edgekd.artifact.app.tokens import Ends
from edgekd.artifact.contract import Contract, Licences, Source, contract_of
from edgekd.preprocessing import Preprocessing
from edgekd.tasks.table import find_task

Shape = tuple[int, ...]
Run = Callable[..., list[np.ndarray]]


def doing_nothing(name: str, *, shape: Shape, opset: int, dtype: str = "float32") -> ModelProto:
    """A model whose only output is its input, as float32."""
    given = helper.make_tensor_value_info("input", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), (1, *shape))
    said = helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, *shape))
    cast = helper.make_node("Cast", ["input"], [name], to=TensorProto.FLOAT)
    graph = helper.make_graph([cast], "nothing", [given], [said])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run_of(app: ModelProto) -> Run:
    """Check a graph in full and load it; call the result with the inputs by name."""
    onnx.checker.check_model(app, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(app.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda **given: session.run(None, given)


def contract(how: Preprocessing, task: str, outputs: dict[str, Shape], **more: Any) -> Contract:
    source = Source(target="raspberry-pi-5", shipped="student under fp32")
    return contract_of(how, task=task, classes=None, outputs=outputs, licences=Licences(), source=source, **more)


@pytest.fixture(scope="session")
def contract_for() -> Callable[..., Contract]:
    """The contract of a model that does a task, with shapes of its outputs by name."""
    return contract


@pytest.fixture(scope="session")
def load_app() -> Callable[[ModelProto], Run]:
    """Load an app graph."""
    return run_of


@pytest.fixture(scope="session")
def open_app() -> Callable[..., Run]:
    """Load the app graph around a model that does nothing: it answers what the model is fed."""

    def open_around(how: Preprocessing, *, task: str = "generic", opset: int, **ends: Any) -> Run:
        name = find_task(task).output
        model = doing_nothing(name, shape=how.shape, opset=opset, dtype=how.dtype)
        return run_of(app_graph(model, contract(how, task, {name: how.shape}), max_opset=opset, ends=Ends(**ends)))

    return open_around
