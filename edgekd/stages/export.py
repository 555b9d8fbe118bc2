"""Stage 3: teacher, student and control as ONNX files, each proven to compute what its module computes."""

import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import torch
from safetensors.torch import load_file
from torch import nn

from edgekd.data.split import open_split
from edgekd.device import RuntimeOnDevice
from edgekd.exporting.onnx_export import check_export, export_onnx
from edgekd.exporting.onnx_input import adopt_onnx
from edgekd.formats.read import LoadedModel
from edgekd.latency.graph import summarise
from edgekd.onnx_graph import opset_of
from edgekd.preprocessing import Preprocessing, normalise, sample_inputs
from edgekd.record import Record
from edgekd.results import Parity
from edgekd.tasks.task import Task

log = logging.getLogger(__name__)

Who = Literal["teacher", "student", "control"]
PARITY_INPUTS = 16


class ExportedModel(Record):
    """One ONNX file. `macs` and `params` are counted in the graph that ships."""

    file: str
    exporter: str
    opset: int
    ir_version: int
    macs: int
    params: int
    parity: tuple[Parity, ...]
    notes: tuple[str, ...]


class Exports(Record):
    """The exported models by who they are; `shipped` names the one that goes on to quantization."""

    models: dict[Who, ExportedModel]
    shipped: Who


def export(
    folder: Path,
    *,
    teacher: LoadedModel,
    students: dict[Who, nn.Module],
    weights: Path,
    shipped: Who,
    preprocessing: Preprocessing,
    task: Task,
    data: Path | None,
    runtime: RuntimeOnDevice,
) -> Exports:
    """Write `NAME.onnx` for the teacher and every trained student, inside the device's opset and IR ceiling.

    Args:
        students: modules of the student's architecture, by the name of their weights in `weights/NAME.safetensors`.
        task: says what the outputs are called.

    Raises:
        BadInput: a model that no exporter takes, or whose graph computes something else than the module.
    """
    inputs = _parity_inputs(preprocessing, data)
    models: dict[Who, ExportedModel] = {"teacher": _export_teacher(folder, teacher, inputs, task, runtime)}
    for who, module in students.items():
        module.load_state_dict(load_file(weights / f"{who}.safetensors"))
        models[who] = _export_module(folder / f"{who}.onnx", module.eval(), inputs, task, runtime)
    return Exports(models=models, shipped=shipped)


def _export_teacher(
    folder: Path, teacher: LoadedModel, inputs: npt.NDArray[Any], task: Task, runtime: RuntimeOnDevice
) -> ExportedModel:
    path = folder / "teacher.onnx"
    if teacher.onnx_path is None:
        return _export_module(path, teacher.module, inputs, task, runtime)
    adopted = adopt_onnx(
        teacher.onnx_path,
        path,
        shape=inputs.shape[1:],
        max_opset=runtime.max_opset,
        max_ir=runtime.max_ir,
        output=task.output,
        further=task.further_outputs,
    )
    parity = check_export(teacher.module, path, inputs, adopted.outputs)
    return _describe(path, parity, "as it came", adopted.notes)


def _export_module(
    path: Path, module: nn.Module, inputs: npt.NDArray[Any], task: Task, runtime: RuntimeOnDevice
) -> ExportedModel:
    example = torch.from_numpy(inputs[:1].copy())
    exported = export_onnx(
        module,
        example,
        path,
        max_opset=runtime.max_opset,
        max_ir=runtime.max_ir,
        output=task.output,
        further=task.further_outputs,
    )
    return _describe(path, check_export(module, path, inputs, exported.outputs), exported.exporter, exported.notes)


def _describe(path: Path, parity: tuple[Parity, ...], exporter: str, notes: tuple[str, ...]) -> ExportedModel:
    model = onnx.load(path, load_external_data=False)
    summary = summarise(model)
    log.info("%s: opset %d, max |difference| %.1e", path.name, opset_of(model), max(p.max_abs for p in parity))
    return ExportedModel(
        file=path.name,
        exporter=exporter,
        opset=opset_of(model),
        ir_version=model.ir_version,
        macs=summary.macs,
        params=summary.params,
        parity=parity,
        notes=notes,
    )


def _parity_inputs(preprocessing: Preprocessing, data: Path | None) -> npt.NDArray[Any]:
    """Real training inputs where there are any, else made-up ones; float32 or int64 (n, ...)."""
    if data is not None:
        return normalise(np.asarray(open_split(data, "train").inputs[:PARITY_INPUTS]), preprocessing)
    return sample_inputs(PARITY_INPUTS, preprocessing.shape, preprocessing.dtype)
