"""How often the fusion oracle is right on this machine about networks that its costs were not fitted to.

    python benchmarks/oracle.py [--models build/zoo] [--seconds 3] [NAME...]

Every network of zoo.py is quantized by every scheme; the oracle says from the files alone what int8 costs relative to
float, and the same is measured: interleaved, process CPU time at one thread. int8 pays where it saves at least 2 %.
"""

import argparse
import math
import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zoo

from edgekd.device import DeviceProfile, load_profile
from edgekd.errors import BadInput
from edgekd.figures import Number
from edgekd.places.timing import compare
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.mend import WORTHWHILE
from edgekd.schemes.oracle import FusionVerdict, judge_fusion
from edgekd.schemes.table import SCHEMES

CALIBRATION = 16
CHOSEN = ("int8_static", "int8_dynamic")


@dataclass(frozen=True)
class Row:
    """One network under one scheme."""

    name: str
    verdict: FusionVerdict
    measured: Number

    @property
    def pays(self) -> bool:
        """Whether int8 was measured to pay."""
        return self.measured.value < 1 - WORTHWHILE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of zoo.py; default all")
    parser.add_argument("--models", type=Path, default=Path("build/zoo"))
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    profile, rows = load_profile("host"), []
    print(f"{'network and scheme':34} {'predicted':>9}  measured             verdict  left")
    for name in arguments.names or zoo.NETS:
        for scheme in CHOSEN:
            row = judged(name, scheme, arguments.models, profile, arguments.seconds)
            if row is None:
                continue
            rows.append(row)
            said = "pays" if row.verdict.pays else "does not"
            took = f"{row.measured.value:.3f} ({row.measured.low:.3f}-{row.measured.high:.3f})"
            left = ", ".join(f"{count} {what}" for what, count in row.verdict.left.items() if count)
            mark = "right" if row.verdict.pays == row.pays else "WRONG"
            print(f"{row.name:34} {row.verdict.ratio.value:9.3f}  {took:20} {said:8} {mark}  {left}", flush=True)
    summary(rows)


def judged(name: str, scheme: str, folder: Path, profile: DeviceProfile, seconds: float) -> Row | None:
    """Quantize, predict and measure one network; None where the scheme does not apply."""
    model, inputs = zoo.export(name, folder), folder / f"{name}.npy"
    quantized = folder / f"{name}.{scheme}.onnx"
    np.save(inputs, zoo.samples(name, 1))
    try:
        calibration = CalibrationData(zoo.samples(name, CALIBRATION, seed=2))
        done = SCHEMES[scheme](model, quantized, calibration=calibration, numerics=profile.numerics)
    except BadInput as error:
        print(f"{name} {scheme}: {error}")
        return None
    if done.skipped:
        return None
    measured = compare(model, quantized, inputs=inputs, processes=4, min_seconds=seconds, max_seconds=4 * seconds)
    return Row(f"{name} {scheme}", judge_fusion(model, quantized, profile), measured)


def summary(rows: list[Row]) -> None:
    """Print how often the verdict was right, beside always saying what is most often true, and how far off it was."""
    right = sum(row.verdict.pays == row.pays for row in rows)
    majority = max(Counter(row.pays for row in rows).values())
    errors = [abs(math.log(row.verdict.ratio.value / row.measured.value)) for row in rows]
    changed = [error for error, row in zip(errors, rows, strict=True) if row.verdict.ratio.value < 0.95 or row.pays]
    inside = sum(row.verdict.ratio.low <= row.measured.value <= row.verdict.ratio.high for row in rows)
    print(f"right {right} of {len(rows)}; always guessing the commoner verdict {majority} of {len(rows)}")
    print(f"ratio off by a median of {100 * statistics.median(errors):.0f} %, at most {100 * max(errors):.0f} %")
    if changed:
        print(f"among the {len(changed)} that int8 changes much, {100 * statistics.median(changed):.0f} %")
    print(f"measured ratio inside the estimate's interval: {inside} of {len(rows)}")


if __name__ == "__main__":
    main()
