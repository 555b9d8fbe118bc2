"""What quantization did: the records of its stage, which results.json and the report carry."""

from edgekd.figures import Number
from edgekd.record import Record


class Fault(Record):
    """A node at which int8 breaks off.

    `left` counts the Q/DQ pairs, casts and transposes that are left beside it, and `share` is their part of the
    predicted cost of the quantized file. Names are as the model file has them, not escaped; a node without one goes by
    what it writes.
    """

    node: str
    operator: str
    left: dict[str, int]
    share: float
    why: str
    mend: str


class FusionVerdict(Record):
    """What int8 is predicted to cost on a device relative to float, and why. It pays where it saves at least 2 %.

    `left` counts what quantization left in the optimised graph and the products that stayed float (`float_products`).
    `leave_float` names the nodes that had better stay float, in the quantized file's names as `nodes_to_exclude` takes
    them, and `mended` is the ratio predicted then, roughly: judge the file that comes of it anew. Names are as the
    model file has them, not escaped.
    """

    pays: bool
    ratio: Number
    left: dict[str, int]
    faults: tuple[Fault, ...]
    leave_float: tuple[str, ...] = ()
    mended: float | None = None


class Share(Record):
    """`parameters`: share of the stored parameters that take 8 bits or fewer. `macs`: share of the multiply-accumulates
    that are done in int8 after the runtime's fusions. `repeated_kib`: size of the stored tensors that are the same as
    another one, as it is or transposed: weights that were tied and no longer are."""

    parameters: float
    macs: float
    repeated_kib: float


class NodeSignal(Record):
    """Signal to noise at a node's own output, in decibels, where the whole graph is quantized."""

    node: str
    operator: str
    sqnr_db: float


class LadderStep(Record):
    """A rung of int8 schemes that was tried: its score on validation, and what would have been enough.

    `score` is None where the scheme did not apply or its file was broken, which `reason` then says.
    """

    scheme: str
    score: float | None
    enough: float
    inside: bool
    reason: str = ""


class SchemeFile(Record):
    """One scheme's file, and what was found out about it.

    twin: the file timed on the host in its place.
    notes: what the scheme found, in sentences.
    left_float: nodes that the scheme left as they were, though they have an int8 form.
    fusion: what its int8 is predicted to cost on the target; None where it has none, or that cannot be counted.
    layers: signal to noise at each node that both graphs have, in their order; empty where that cannot be told.
    rejected: why it does not compete.
    """

    scheme: str
    file: str
    sha256: str
    size_kib: float
    sqnr_db: float | None = None
    operators: dict[str, int] = {}
    twin: str | None = None
    notes: tuple[str, ...] = ()
    left_float: tuple[str, ...] = ()
    fusion: FusionVerdict | None = None
    share: Share | None = None
    layers: tuple[NodeSignal, ...] = ()
    rejected: str | None = None
