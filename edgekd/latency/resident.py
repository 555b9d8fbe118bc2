"""Peak memory of a process that runs a model on ONNX Runtime: the library, the session, the weights with the copies
that loading makes of them, and the arena that activations are placed in."""

from edgekd.latency.graph import ITEM_BYTES, GraphSummary, NodeCost, Precision, as_if

LIBRARY_KIB = 21_300.0
"""Resident KiB of a C program that has loaded ONNX Runtime 1.31.1, x86-64 Linux. Python with numpy takes 29 MiB more,
which no estimate includes."""
CONSTANTS = {
    "session": 10_235.0,
    "node": 6.8,
    "conv_fp32": 2.57,
    "conv_int8": 1.83,
    "product_fp32": 1.35,
    "product_int8": 1.31,
    "other": 3.68,
    "largest": 1.77,
    "activations": 2.45,
}
"""KiB by term, per session, node or KiB of what is stored; fitted by benchmarks/memory.py."""


def peak_resident_kib(summary: GraphSummary, precision: Precision | None = None) -> float:
    """Return the peak resident set in KiB of a C program with one model of batch 1, as it is or as if it were in
    `precision`."""
    return LIBRARY_KIB + sum(CONSTANTS[name] * amount for name, amount in terms(summary, precision).items())


def terms(summary: GraphSummary, precision: Precision | None = None) -> dict[str, float]:
    """Return what a model's memory is counted by: one session, its nodes, and KiB of weights and activations.

    Weights of float convolutions are held as the file has them and reordered into blocks of channels while a model is
    loaded, those of products packed; `largest` is the largest tensor, which is there once more in the meantime.
    """
    nodes = as_if(summary.nodes, precision) if precision else summary.nodes
    found = dict.fromkeys(CONSTANTS, 0.0)
    found.update(session=1.0, node=float(sum(summary.operators.values())))
    for node in nodes:
        found[f"{_kind(node)}_{_stored(node.precision)}"] += _kib(node)
    shrink = ITEM_BYTES[precision] / ITEM_BYTES[summary.precision] if precision else 1.0
    found["largest"] = max((_kib(node) for node in nodes), default=0.0)
    found["other"] = max(summary.weight_bytes / 1024 - sum(map(_kib, summary.nodes)), 0.0)
    found["activations"] = shrink * summary.activation_bytes / 1024
    return found


def _kind(node: NodeCost) -> str:
    """Grouped convolutions are not reordered: they are products, group by group."""
    return "conv" if node.operator.startswith("conv_") and node.operator != "conv_grouped" else "product"


def _stored(precision: Precision) -> str:
    """What weights are in memory: those of fp16 are cast to fp32."""
    return "int8" if precision == "int8" else "fp32"


def _kib(node: NodeCost) -> float:
    return node.weights * ITEM_BYTES[node.precision] / 1024
