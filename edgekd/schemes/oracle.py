"""Whether int8 pays on a device that is not here, which layers are at fault where it does not, and what mends it.

Both files are optimised as the target's ONNX Runtime would, and every operator that is left is given its price there:
counted instructions at the device's rates for Arm, operators timed one by one for x86 with VNNI. What quantization
leaves between the operators (Q/DQ pairs, casts, transposes) is in that sum, so a file that is half fused is seen to be
slow before it is ever run.
"""

from collections import Counter
from pathlib import Path

from edgekd.device import DeviceProfile
from edgekd.errors import UsageError
from edgekd.figures import Number
from edgekd.latency.x86_prediction import is_x86_profile
from edgekd.quantization import FusionVerdict
from edgekd.schemes.executed import Executed, execute
from edgekd.schemes.faults import find_faults
from edgekd.schemes.mend import WORTHWHILE, blocks_to_leave

LEFT = ("Cast", "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear", "Transpose")
PRODUCTS = ("conv_", "gemm", "matmul", "recurrent")
_LEVEL = 0.9
_BANDS = {"avx512_vnni": (0.8, 1.25), "avx_vnni": (0.7, 1.5), "avx2": (0.7, 3.0)}
"""Measured over predicted ratio, in nine of ten cases, by the feature of the processor that decides. With AVX-512 by
benchmarks/oracle.py; otherwise judgement: half the width with AVX-VNNI, three instructions for one without VNNI."""
_ARM_BAND = (0.6, 1.7)
"""Judgement: nothing was measured there."""


def judge_fusion(
    model: Path, quantized: Path, profile: DeviceProfile, *, runtime: str = "onnxruntime", threads: int | None = None
) -> FusionVerdict:
    """Predict what `quantized` costs on a device relative to `model`, the float file that it was made from.

    Raises:
        UsageError: a runtime other than ONNX Runtime, of which nothing is known.
        BadInput: ONNX Runtime does not load one of the files, or its work cannot be counted.
    """
    if runtime != "onnxruntime":
        raise UsageError(f"Only what onnxruntime makes of a graph can be predicted, not {runtime}; measure that.")
    used = threads or profile.latency.threads
    before, after = (execute(path, profile, used) for path in (model, quantized))
    ratio = after.total / before.total
    names, mended = blocks_to_leave(after, quantized)
    return FusionVerdict(
        pays=ratio < 1 - WORTHWHILE,
        ratio=_number(ratio, profile),
        left=_left(after),
        faults=find_faults(after, quantized, profile),
        leave_float=names,
        mended=None if mended is None else round(mended / before.total, 3),
    )


def _left(graph: Executed) -> dict[str, int]:
    found = Counter(node.op_type for node in graph.nodes if node.op_type in LEFT)
    products = sum(cost.operator.startswith(PRODUCTS) and cost.precision != "int8" for cost in graph.costs)
    return {**dict(sorted(found.items())), "float_products": products}


def _number(ratio: float, profile: DeviceProfile) -> Number:
    low, high = _ARM_BAND
    if is_x86_profile(profile):
        low, high = next((band for feature, band in _BANDS.items() if feature in profile.isa), _BANDS["avx2"])
    return Number(
        value=round(ratio, 3),
        low=round(ratio * low, 3),
        high=round(ratio * high, 3),
        level=_LEVEL,
        unit="x",
        word="estimated",
        place=profile.name,
    )
