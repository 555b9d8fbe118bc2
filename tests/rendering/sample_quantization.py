"""What a run finds out about int8, invented but consistent, and the same with hostile names."""

from edgekd.figures import Number
from edgekd.quantization import Fault, FusionVerdict, LadderStep, NodeSignal, SchemeFile, Share


def ladder() -> tuple[LadderStep, ...]:
    """int8_static lost too much, the correction did not apply, mixed was enough."""
    return (
        LadderStep(scheme="int8_static", score=0.911, enough=0.925, inside=False),
        LadderStep(scheme="int8_corrected", score=None, enough=0.925, inside=False, reason="neither of the two helps"),
        LadderStep(scheme="int8_mixed", score=0.9288, enough=0.925, inside=True),
    )


def files(name: str = "layer1.0.act") -> tuple[SchemeFile, ...]:
    """A float file, and an int8 one with a fault at `name`, noise at it, and another node left float."""
    return (
        SchemeFile(scheme="fp32", file="fp32.onnx", sha256="ab" * 32, size_kib=861.0),
        SchemeFile(
            scheme="int8_static",
            file="int8_static.onnx",
            sha256="cd" * 32,
            size_kib=261.0,
            sqnr_db=28.4,
            left_float=(f"{name}.kept",),
            fusion=FusionVerdict(
                pays=True,
                ratio=Number(
                    value=0.62, low=0.4, high=1.05, level=0.9, unit="x", word="estimated", place="raspberry-pi-4"
                ),
                left={"DequantizeLinear": 3, "QuantizeLinear": 2, "float_products": 0},
                faults=(
                    Fault(
                        node=name,
                        operator="HardSwish",
                        left={"DequantizeLinear": 1},
                        share=0.083,
                        why="ONNX Runtime has no integer kernel for HardSwish",
                        mend="train the student with ReLU instead of HardSwish",
                    ),
                ),
            ),
            share=Share(parameters=0.994, macs=0.98, repeated_kib=0.0),
            layers=(
                NodeSignal(node=name, operator="HardSwish", sqnr_db=17.3),
                NodeSignal(node="conv1", operator="Conv", sqnr_db=41.9),
            ),
        ),
    )
