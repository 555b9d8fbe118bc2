"""What `edgekd predict --target host` says of forty architectures, float and int8, beside what they take here.

    edgekd devices calibrate host
    python benchmarks/host.py --out build/host [--models build/unseen] [NAME...]

The architectures are those of unseen.py; the calibration has seen none of them. Measured is process CPU time at one
thread (of each of several fresh processes the mean of the fastest tenth of its runs; of those the median, for where a
process finds its memory alone moves a quantized network by up to a third), the 10th percentile of wall time at two, and
the peak resident set, beside what is predicted for a program in C and what Python takes more. What was measured is kept
in OUT and not measured again.
"""

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import unseen

from edgekd.latency import predict_file
from edgekd.latency.predictor import Prediction
from edgekd.latency.resident import LIBRARY_KIB
from edgekd.places.host import open_host
from edgekd.places.process import run_program

PROCESSES = 5
EFFORT = {"seed": 0, "warmup": 30, "min_runs": 40, "min_seconds": 0.5, "max_seconds": 10.0}


@dataclass(frozen=True)
class Measured:
    """One file as it ran here; `cpu_ms` and `two_threads_ms` hold a figure for each process."""

    cpu_ms: list[float]
    two_threads_ms: list[float]
    import_kib: float
    peak_kib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="of unseen.py; default all")
    parser.add_argument("--models", type=Path, default=Path("build/unseen"))
    parser.add_argument("--out", type=Path, default=Path("build/host"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    print(f"{'network':36} {'measured':>9} {'processes':>15} {'said':>9} {'error':>7}   peak MiB measured, said")
    for name in arguments.names or unseen.SIDES:
        for model in filter(None, unseen.export(name, arguments.models)):
            kept = arguments.out / f"{model.stem}.json"
            if not kept.exists():
                kept.write_text(json.dumps(asdict(measure(model))))
            measured = Measured(**json.loads(kept.read_text()))
            one, two = (predict_file(model, target="host", threads=threads).predictions[0] for threads in (1, 2))
            row = Row(model.stem, measured, one, two)
            rows.append(row)
            print(row.line(), flush=True)
    for precision in ("fp32", "int8"):
        summary(precision, [row for row in rows if row.is_int8 == (precision == "int8")])


def measure(model: Path) -> Measured:
    """Run a file in fresh processes, at one thread and at two."""
    spec = {"models": [{"path": str(model.absolute()), "runtime": "onnxruntime", "session": {}}], **EFFORT}
    with open_host() as place:
        one, two = ([run_program(place, {**spec, "threads": threads}) for _ in range(PROCESSES)] for threads in (1, 2))
    cpu = [sorted(process["models"][0]["cpu_ms"]) for process in one]
    wall = [sorted(process["models"][0]["wall_ms"]) for process in two]
    return Measured(
        cpu_ms=[statistics.mean(runs[: max(len(runs) // 10, 3)]) for runs in cpu],
        two_threads_ms=[runs[len(runs) // 10] for runs in wall],
        import_kib=statistics.median(process["memory"]["import"] for process in one),
        peak_kib=statistics.median(process["memory"]["steady"] for process in one),
    )


@dataclass(frozen=True)
class Row:
    """One file: what was measured, and what was predicted at one thread and at two."""

    name: str
    measured: Measured
    one: Prediction
    two: Prediction

    @property
    def is_int8(self) -> bool:
        """Whether the file is the quantized one."""
        return self.name.endswith(".int8")

    @property
    def cpu_ms(self) -> float:
        """CPU time of the usual process."""
        return statistics.median(self.measured.cpu_ms)

    @property
    def error(self) -> float:
        """Logarithm of predicted over measured CPU time."""
        return math.log(_value(self.one) / self.cpu_ms)

    @property
    def two_threads(self) -> float:
        """Logarithm of predicted over measured wall time at two threads."""
        return math.log(_value(self.two) / statistics.median(self.measured.two_threads_ms))

    @property
    def memory(self) -> tuple[float, float]:
        """Measured and predicted peak in KiB of the whole process: what is predicted is that of a program in C, so what
        Python with numpy and the runtime takes more than the runtime alone is added."""
        said = self.one.peak_memory_kib
        assert said is not None
        return self.measured.peak_kib, said.value + self.measured.import_kib - LIBRARY_KIB

    def line(self) -> str:
        """The row as it is printed."""
        measured, said = (kib / 1024 for kib in self.memory)
        spread = f"{min(self.measured.cpu_ms):.3f}-{max(self.measured.cpu_ms):.3f}"
        return (
            f"{self.name:36} {self.cpu_ms:9.3f} {spread:>15} {_value(self.one):9.3f} {_percent(self.error):>7}   "
            f"{measured:6.1f} {said:6.1f} MiB"
        )


def summary(precision: str, rows: Sequence[Row]) -> None:
    """Print shares, medians and the worst of one precision."""
    if not rows:
        return
    for title, errors in (
        ("CPU time", [row.error for row in rows]),
        ("two threads", [row.two_threads for row in rows]),
    ):
        near = sum(abs(math.expm1(error)) <= 0.1 for error in errors)
        middle = math.expm1(statistics.median(abs(error) for error in errors))
        worst = max(rows, key=lambda row: abs(errors[rows.index(row)]))
        print(
            f"{precision}, {title}: {near} of {len(rows)} within 10 %, median {middle:.1%}, "
            f"bias {_percent(statistics.median(errors))}, worst {worst.name} {_percent(errors[rows.index(worst)])}"
        )
    low = [row.one.latency_ms for row in rows if row.one.latency_ms]
    inside = sum((one.low or 0) <= row.cpu_ms <= (one.high or 0) for one, row in zip(low, rows, strict=True))
    print(f"{precision}: measured inside the 90 % interval: {inside} of {len(rows)}")
    pairs = [row.memory for row in rows]
    held = sum(abs(said - measured) <= max(0.1 * measured, 5 * 1024) for measured, said in pairs)
    off = [said / measured - 1 for measured, said in pairs]
    print(
        f"{precision}, peak memory: {held} of {len(rows)} within 10 % or 5 MiB, from {min(off):+.0%} to {max(off):+.0%}"
    )


def _value(one: Prediction) -> float:
    assert one.latency_ms is not None
    return one.latency_ms.value


def _percent(logarithm: float) -> str:
    return f"{math.expm1(logarithm):+.1%}"


if __name__ == "__main__":
    main()
