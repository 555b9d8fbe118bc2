"""Which operators are left when ONNX Runtime has fused a graph: what a device will really execute."""

from collections import Counter
from pathlib import Path

from edgekd.latency.optimised import optimise


def operators_left(model: Path, *, arm: bool) -> dict[str, int]:
    """Count the operators by type, sorted by name, after ONNX Runtime's fusions.

    A Q/DQ pair left beside a convolution means that the convolution stayed float and the file will be slow. With `arm`,
    this machine takes the fusion decisions of an ARM build, whatever it is. Layout changes are left out: they belong to
    the processor at hand.

    Raises:
        BadInput: ONNX Runtime does not load the file.
    """
    return dict(sorted(Counter(node.op_type for node in optimise(model, arm=arm).graph.node).items()))
