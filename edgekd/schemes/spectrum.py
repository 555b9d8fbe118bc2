"""What stays float before a network on sound: the way from a waveform to the logarithm of its powers.

Powers of loud and quiet bands are 60 dB and more apart, and 256 even steps hold 48 dB; after the logarithm they do.
"""

import onnx

SPECTRAL = {
    *("Add", "Cast", "Clip", "Concat", "Constant", "Conv", "Div", "Gather", "Identity", "MatMul", "Max", "Mul", "Pad"),
    *("Pow", "ReduceSum", "ReduceSumSquare", "Reshape", "STFT", "Slice", "Split", "Sqrt", "Squeeze", "Sub"),
    *("Transpose", "Unsqueeze"),
}
"""Operators that lead to powers; any other, such as an activation, belongs to a network."""


def before_logarithm(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes from the input to a logarithm of squares, where only `SPECTRAL` ones lie between."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    found: set[str] = set()
    for node in model.graph.node:
        if node.op_type != "Log":
            continue
        before = _ancestors(node, made_by)
        if all(one.op_type in SPECTRAL for one in before) and any(_squares(one) for one in before):
            found |= {one.name for one in (node, *before)}
    return sorted(found)


def _ancestors(node: onnx.NodeProto, made_by: dict[str, onnx.NodeProto]) -> list[onnx.NodeProto]:
    found: dict[str, onnx.NodeProto] = {}
    waiting = [node]
    while waiting:
        for name in waiting.pop().input:
            if name in made_by and made_by[name].output[0] not in found:
                found[made_by[name].output[0]] = made_by[name]
                waiting.append(made_by[name])
    return list(found.values())


def _squares(node: onnx.NodeProto) -> bool:
    same = node.op_type == "Mul" and node.input[0] == node.input[1]
    return same or node.op_type in ("Pow", "ReduceSumSquare")
