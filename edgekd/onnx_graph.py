"""What every ONNX graph that leaves edgekd has in common: nothing in it but the computation, and proof that it loads.

Exporters and quantizers leave stack traces, producer versions, tensor shapes and unused domains behind. They are
dropped, so that the same module gives the same bytes, old runtimes see only the domains that are used, and no path or
source line of the machine that exported travels with the model.
"""

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from edgekd.external_data import loadable

STANDARD_DOMAINS = ("", "ai.onnx")
TIED_BYTES = 1024
"""What is smaller (scales, zero points, shapes) is not worth sharing, and easier to change while it is not."""


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operator set that a model imports (1 where it imports none)."""
    return next((one.version for one in model.opset_import if one.domain in STANDARD_DOMAINS), 1)


def canonical(model: onnx.ModelProto, *, max_ir: int) -> onnx.ModelProto:
    """Return a copy with only what is computed, and an IR version of at most `max_ir`."""
    clean = onnx.ModelProto()
    clean.CopyFrom(model)
    clean.ir_version = min(model.ir_version, max_ir)
    clean.producer_name = "edgekd"
    for field in ("producer_version", "doc_string", "domain", "model_version", "metadata_props"):
        clean.ClearField(field)
    for graph in _graphs(clean.graph):
        _strip(graph)
    for function in clean.functions:
        function.ClearField("doc_string")
        function.ClearField("metadata_props")
        _strip_all([*function.node, *function.value_info])
    tie(clean)
    _drop_unused(clean)
    return clean


def tie(model: onnx.ModelProto) -> None:
    """Store once, in place, what a graph stores several times: exporters and quantizers copy a weight for each reader.

    Of tensors of the same type, shape and bytes from `TIED_BYTES` on, the first stays, and all that read another read
    it. Those that a loop or branch reads are left alone.
    """
    inner = {name for graph in [*_graphs(model.graph)][1:] for node in graph.node for name in node.input}
    inner |= {value.name for value in model.graph.output}
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    stands_for: dict[str, str] = {}
    for tensor in model.graph.initializer:
        # Vectors are left: a bias and a zero point of zeros are not the same thing.
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.name in inner or len(tensor.dims) < 2:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if values.nbytes >= TIED_BYTES:
            key = (tensor.data_type, tuple(tensor.dims), hashlib.sha256(values.tobytes()).digest())
            stands_for[tensor.name] = first.setdefault(key, tensor.name)
    for node in model.graph.node:
        for at, name in enumerate(node.input):
            node.input[at] = stands_for.get(name, name)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for inner in inner_graphs(node):
            yield from _graphs(inner)


def _strip(graph: onnx.GraphProto) -> None:
    for field in ("doc_string", "metadata_props", "value_info"):
        graph.ClearField(field)
    _strip_all([*graph.node, *graph.input, *graph.output, *graph.initializer])
    for node in graph.node:
        for attribute in node.attribute:
            attribute.ClearField("doc_string")


def _strip_all(parts: Sequence[Any]) -> None:
    for part in parts:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")


def untie(model: onnx.ModelProto) -> None:
    """Give every node a copy of its own, in place, of the weights that several read: what `tie` undoes.

    ONNX Runtime's quantizer turns a product's weights around for one reader, and fails or errs at the next.
    """
    stored = {one.name: one for one in model.graph.initializer}
    taken: set[str] = set()
    for number, node in enumerate(model.graph.node):
        for at, name in enumerate(node.input):
            if name in taken and len(stored[name].dims) > 1 and stored[name].ByteSize() >= TIED_BYTES:
                node.input[at] = f"{name}_of_{number}"
                copy = model.graph.initializer.add()
                copy.CopyFrom(stored[name])
                copy.name = node.input[at]
            elif name in stored:
                taken.add(name)


def _drop_unused(model: onnx.ModelProto) -> None:
    used = {name for graph in _graphs(model.graph) for node in graph.node for name in node.input}
    used |= {output.name for graph in _graphs(model.graph) for output in graph.output}
    kept = [one for one in model.graph.initializer if one.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    nodes = [node for graph in _graphs(model.graph) for node in graph.node]
    nodes += [node for function in model.functions for node in function.node]
    domains = {"" if node.domain in STANDARD_DOMAINS else node.domain for node in nodes} | {""}
    imports = [one for one in model.opset_import if ("" if one.domain in STANDARD_DOMAINS else one.domain) in domains]
    del model.opset_import[:]
    model.opset_import.extend(imports)


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The branches or the body of a node, one level deep."""
    for attribute in node.attribute:
        yield from attribute.graphs
        if attribute.HasField("g"):
            yield attribute.g


def value_names(graph: onnx.GraphProto) -> set[str]:
    """Every value that a graph or a graph inside it reads or writes."""
    names: set[str] = set()
    for each in _graphs(graph):
        names.update(value.name for value in (*each.input, *each.output, *each.initializer))
        for node in each.node:
            names.update(node.input, node.output)
    return names


def rename_values(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give values other names, in place, wherever they are read or written; `names` is old to new."""
    for each in _graphs(graph):
        for node in each.node:
            for listed in (node.input, node.output):
                listed[:] = [names.get(name, name) for name in listed]
        stored = [*each.initializer, *(sparse.values for sparse in each.sparse_initializer)]
        for value in (*each.input, *each.output, *each.value_info, *stored):
            value.name = names.get(value.name, value.name)


def run_graph(model: onnx.ModelProto | Path, images: npt.NDArray[np.float32]) -> tuple[npt.NDArray[Any], ...]:
    """Check a model of one input in full, load it into ONNX Runtime, and run it batch by batch.

    `images` are float32 (n, channels, height, width), n a multiple of the batch that the graph is fixed to (1 where it
    is symbolic); each output is (n, ...). Raises what the checker or the runtime raises.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    with contextlib.nullcontext(str(model)) if isinstance(model, Path) else loadable(model) as data:
        onnx.checker.check_model(data, full_check=True)
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    name, batch = session.get_inputs()[0].name, session.get_inputs()[0].shape[0]
    step = batch if isinstance(batch, int) else 1
    runs = [session.run(None, {name: images[i : i + step]}) for i in range(0, len(images), step)]
    return tuple(np.concatenate(output) for output in zip(*runs, strict=True))


def open_graph(model: onnx.ModelProto, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """Load a model in memory into ONNX Runtime. Raises what the runtime raises."""
    with loadable(model) as data:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Silence what foreign libraries warn, log and print (exporters print whole graphs before they raise)."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    # Its default level has no getter to restore it from; errors still show.
    onnxruntime.set_default_logger_severity(3)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            yield
    finally:
        logging.disable(before)
