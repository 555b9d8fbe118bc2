"""Peak memory of the activations, from when each tensor is made and last read."""

from edgekd.latency.fusion import Folding
from edgekd.latency.wiring import Wiring

_VIEWS = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"}


def peak_activation_bytes(wiring: Wiring, folding: Folding) -> int:
    """Return the largest sum of live activations while the nodes run in order, in bytes.

    A tensor lives from its node to its last reader, graph inputs and outputs throughout. Results inside a folded group
    are never stored; a view shares its source's buffer. Tensors that an integer operator writes or reads through a
    folded Q/DQ pair take one byte per element. Work buffers of kernels and the arena's rounding are not counted.
    """
    owner = _owners(wiring, folding)
    born, dies = _lifetimes(wiring, folding, owner)
    made = [0] * (len(wiring.nodes) + 1)
    freed = [0] * (len(wiring.nodes) + 1)
    for name, at in born.items():
        size = _buffer_bytes(name, wiring, folding)
        made[at + 1] += size
        freed[dies[name]] += size
    live = peak = made[0]
    for at in range(len(wiring.nodes)):
        live += made[at + 1]
        peak = max(peak, live)
        live -= freed[at]
    return peak


def _owners(wiring: Wiring, folding: Folding) -> dict[str, str]:
    """Tensor to the tensor whose buffer it shares: itself, or what a view or a folded Q/DQ was made from."""
    owner: dict[str, str] = {}
    for at, node in enumerate(wiring.nodes):
        shares = node.op_type in _VIEWS or folding.host[at] == -1
        for name in node.output:
            source = node.input[0] if shares and node.input else name
            owner[name] = owner.get(source, source)
    return owner


def _stored(at: int, wiring: Wiring, folding: Folding) -> list[str]:
    """The tensors that node `at` puts into memory: all of its outputs, or of a folded group the final one only."""
    host = folding.host[at]
    names = [name for name in wiring.nodes[at].output if name and name not in wiring.constants]
    if host == -1:
        return []
    grouped = host != at or folding.result[host] not in wiring.nodes[host].output
    return [name for name in names if name == folding.result[host]] if grouped else names


def _lifetimes(wiring: Wiring, folding: Folding, owner: dict[str, str]) -> tuple[dict[str, int], dict[str, int]]:
    """Node index at which each buffer is made (-1: a graph input) and last needed."""
    end = len(wiring.nodes)
    born = dict.fromkeys(wiring.inputs, -1)
    dies = dict.fromkeys(wiring.inputs, end)
    for at, node in enumerate(wiring.nodes):
        for name in node.input:
            buffer = owner.get(name, name)
            if buffer in born:
                dies[buffer] = max(dies[buffer], at)
        for name in _stored(at, wiring, folding):
            if owner[name] == name:
                born[name] = dies[name] = at
    for name in wiring.outputs:
        buffer = owner.get(name, name)
        if buffer in dies:
            dies[buffer] = end
    return born, dies


def _buffer_bytes(name: str, wiring: Wiring, folding: Folding) -> int:
    quantized = any(
        folding.host[reader] == -1 and wiring.nodes[reader].op_type == "QuantizeLinear"
        for reader in wiring.consumers.get(name, ())
    )
    return wiring.elements(name) if quantized else wiring.bytes_of(name)
