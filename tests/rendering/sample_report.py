"""A report as a whole run would give it, and the same one with hostile names, for the tests of rendering and gate.

Figures are invented but consistent: a ResNet-56 teacher on CIFAR-10 classes, a pruned student, five candidates. Test
files load it with `runpy.run_path`, since test folders are not packages.
"""

import runpy
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.figures import Bench, Figures, Latency, Memory, Number
from edgekd.results import (
    BudgetOutcome,
    Candidate,
    ConfusedPair,
    Confusion,
    Curve,
    DeviceEstimate,
    Distillation,
    Parity,
    Report,
    SessionTrial,
    SourceModel,
)

quantization = runpy.run_path(str(Path(__file__).parent / "sample_quantization.py"))
judgements = runpy.run_path(str(Path(__file__).parent / "sample_judgement.py"))

TARGET = "raspberry-pi-4"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HOSTILE = "<script>alert('x')</script>\x00\x1b[31m|`]]>&\u202e\ud800" + "A" * 10_000


def sample_report(**changes: Any) -> Report:
    """Build the report; `changes` replace whole fields."""
    shipped = candidate("int8_static-onnxruntime", "int8_static", 0.9288, 19.4, size=261, chosen=True)
    student = figures(0.9301, 38.0, size=861, macs=62_400_000, params=214_300, host=None)
    values: dict[str, Any] = {
        "edgekd": "0.1.0",
        "verdict": "inconclusive",
        "exit_code": 5,
        "headline": "int8_static on onnxruntime ships: 8 % of the teacher's size, 0.51 points of accuracy below it.",
        "target": TARGET,
        "model": SourceModel(path="models/resnet56_state_dict.pt", sha256="ab" * 32),
        "splits": {"train": 40500, "calibration": 512, "val": 4500, "test": 10000, "seed": 0},
        "seed": 0,
        "command": "edgekd compress models/resnet56_state_dict.pt --arch nets.py:resnet56 --data cifar10/ "
        "--target raspberry-pi-4 --budget latency=30ms --budget drop=1% --time 30m",
        "environment": {
            "cpu": {"model": "Example CPU @ 2.10GHz", "cores": 2, "flags": ["avx2", "avx512_vnni"], "governor": None},
            "python": "3.12.4",
            "onnxruntime": "1.31.0",
            "openvino": "2026.4.0",
        },
        "recipe": {"student": "auto", "keep_macs": 0.5},
        "score_name": "accuracy",
        "classes": CLASSES,
        "models": {
            "teacher": figures(0.9339, 71.2, size=3347, macs=126_800_000, params=853_018, host=None),
            "control": figures(0.9214, 38.0, size=861, macs=62_400_000, params=214_300, host=None),
            "student": student,
            "shipped": Figures(**{name: getattr(shipped, name) for name in Figures.model_fields}),
        },
        "candidates": (
            candidate("fp32-onnxruntime", "fp32", 0.9301, 38.0, size=861, reason="slower than int8_static"),
            candidate("fp32-openvino", "fp32", 0.9301, 41.3, size=861, reason="slower than fp32 on onnxruntime"),
            candidate(
                "int8_dynamic-onnxruntime",
                "int8_dynamic",
                None,
                None,
                size=858,
                reason="nothing to quantize: no MatMul",
            ),
            shipped,
            candidate(
                "int8_mixed-onnxruntime",
                "int8_mixed",
                0.9296,
                24.8,
                size=342,
                reason="slower, and 0.08 points are noise",
            ),
        ),
        "sessions": (
            SessionTrial(session={}, peak_memory_kib=peak(74_004, 3), reason="another takes less memory"),
            SessionTrial(session={"arena": False}, peak_memory_kib=peak(81_330), reason="takes no less memory"),
            SessionTrial(
                session={"prepacking": False},
                peak_memory_kib=peak(70_112, 3),
                cost=measured(1.003, "x", 0.011).model_copy(update={"level": 0.99}),
                taken=True,
                reason="the least memory of those that are not slower",
            ),
        ),
        "budgets": (
            BudgetOutcome(
                metric="latency",
                limit=30.0,
                unit="ms",
                actual=estimated(19.4, "ms", 0.35),
                verdict="inconclusive",
                reason="only an estimate: measure it on the target, or allow estimates to decide",
            ),
            BudgetOutcome(
                metric="drop",
                limit=0.01,
                unit="fraction",
                actual=Number(
                    value=0.0051, low=-0.0031, high=0.0133, unit="fraction", word="measured", place="host", n=10000
                ),
                verdict="pass",
            ),
            BudgetOutcome(
                metric="size",
                limit=256.0,
                unit="KiB",
                severity="warn",
                actual=Number(value=261.0, low=261.0, high=261.0, unit="KiB", word="measured", place="file"),
                verdict="missed",
                reason="over the limit by 2 %",
            ),
        ),
        "distillation": distillation(),
        "judgement": judgements["judged"](),
        "files": quantization["files"](),
        "ladder": quantization["ladder"](),
        "parity": (Parity(output="logits", max_abs=4.1e-6, cosine=0.9999998, sqnr_db=118.4),),
        "per_class": {
            name: {"teacher": 0.90 + 0.007 * i, "shipped": 0.90 + 0.007 * i + (-0.021, 0.004, -0.008)[i % 3]}
            for i, name in enumerate(CLASSES)
        },
        "confusion": confusion(),
        "devices": devices(),
        "finished": "2026-03-01T12:00:00+00:00",
        "latency_by_operator": {
            "QLinearConv": 15.1,
            "QLinearAdd": 2.2,
            "QuantizeLinear": 1.1,
            "GlobalAveragePool": 0.06,
        },
        "artifact": {"model.onnx": "cd" * 32, "preprocess.json": "ef" * 32},
        "seconds": {"load": 3.2, "distill": 1711.0, "export": 14.9, "quantize": 48.1, "benchmark": 61.0},
        "fallbacks": ("The target's core is timed by an estimate, since no board was named with --on.",),
        "warnings": ("One image of 50,000 did not decode and was left out.",),
        "unknown": ("Latency on a real raspberry-pi-4 was not measured.", "Scores under the target's own kernels."),
    }
    return Report.model_validate({**values, **changes})


def hostile_report() -> Report:
    """The same, with a hostile string wherever a foreign name can stand."""
    report = sample_report()
    return sample_report(
        headline=HOSTILE,
        target=HOSTILE,
        model=SourceModel(path=HOSTILE, sha256="ab" * 32),
        command=HOSTILE,
        environment={HOSTILE: HOSTILE},
        classes=(HOSTILE,),
        candidates=tuple(
            c.model_copy(update={"id": f"{i}{HOSTILE}", "reason": HOSTILE}) for i, c in enumerate(report.candidates)
        ),
        sessions=(SessionTrial(session={HOSTILE: HOSTILE, "file": HOSTILE}, reason=HOSTILE),),
        budgets=tuple(outcome.model_copy(update={"reason": HOSTILE}) for outcome in report.budgets),
        judgement=judgements["hostile_judgement"](HOSTILE),
        files=quantization["files"](HOSTILE),
        ladder=tuple(step.model_copy(update={"reason": HOSTILE}) for step in report.ladder),
        parity=(Parity(output=HOSTILE, max_abs=0.0, cosine=1.0, sqnr_db=99.0),),
        per_class={HOSTILE: {"teacher": 0.9, "shipped": 0.8}},
        confusion=Confusion(
            samples={HOSTILE: 10, f"b{HOSTILE}": 10},
            pairs=(ConfusedPair(truth=HOSTILE, answer=f"b{HOSTILE}", shipped=2, teacher=1),),
        ),
        devices=tuple(one.model_copy(update={"target": f"{i}{HOSTILE}"}) for i, one in enumerate(report.devices)),
        finished=HOSTILE,
        latency_by_operator={HOSTILE: 1.0},
        artifact={HOSTILE: HOSTILE},
        fallbacks=(HOSTILE,),
        warnings=(HOSTILE,),
        unknown=(HOSTILE,),
    )


def confusion() -> Confusion:
    """Cats and dogs, trucks and automobiles; nobody takes a frog for anything else."""
    pairs = (("cat", "dog", 31, 28), ("dog", "cat", 27, 29), ("truck", "automobile", 14, 9), ("bird", "deer", 9, 4))
    return Confusion(
        samples=dict.fromkeys(CLASSES, 1000),
        pairs=tuple(ConfusedPair(truth=a, answer=b, shipped=n, teacher=t) for a, b, n, t in pairs),
    )


def devices() -> tuple[DeviceEstimate, ...]:
    """Three devices that lie far apart, the target among them, and one that cannot be estimated."""
    known = (("raspberry-pi-zero-2-w", 61.0), (TARGET, 19.4), ("dimensity-9300", 1.9))
    return (
        *(
            DeviceEstimate(
                target=name,
                latency_ms=estimated(ms, "ms", 0.35).model_copy(update={"place": name}),
                peak_memory_kib=estimated(51_240, "KiB", 0.2).model_copy(update={"place": name}),
            )
            for name, ms in known
        ),
        DeviceEstimate(target="jetson-nano", error="the profile has no rates for int8"),
    )


def estimated(value: float, unit: str, share: float) -> Number:
    """An estimate for the target, `share` of the value to either side."""
    return Number(
        value=value, low=value * (1 - share), high=value * (1 + share), unit=unit, word="estimated", place=TARGET
    )


def measured(value: float, unit: str, half: float, n: int = 400) -> Number:
    """A figure measured on the host, `half` to either side."""
    return Number(value=value, low=value - half, high=value + half, unit=unit, word="measured", place="host", n=n)


def peak(kib: float, n: int = 1) -> Number:
    """Peak memory of `n` fresh processes on the host."""
    return Number(value=kib, unit="KiB", word="measured", place="host", n=n)


def figures(
    score: float | None, p95: float | None, *, size: float, macs: int, params: int, host: Bench | None
) -> Figures:
    """What is known of one model."""
    return Figures(
        score=None if score is None else measured(score, "score", 0.0041, 10000),
        metrics={} if score is None else {"agreement": score + 0.02, "ece": 0.046},
        macs=macs,
        params=params,
        size_kib=size,
        latency_p50_ms=None if p95 is None else estimated(p95 * 0.94, "ms", 0.35),
        latency_p95_ms=None if p95 is None else estimated(p95, "ms", 0.35),
        peak_memory_kib=estimated(49_152 + 8 * size, "KiB", 0.2),
        host=host,
    )


def candidate(
    name: str,
    scheme: str,
    score: float | None,
    p95: float | None,
    *,
    size: float,
    chosen: bool = False,
    reason: str = "",
) -> Candidate:
    """One exported model under one scheme."""
    known = figures(score, p95, size=size, macs=62_400_000, params=214_300, host=bench() if chosen else None)
    int8 = scheme.startswith("int8")
    return Candidate(
        **{field: getattr(known, field) for field in Figures.model_fields},
        id=name,
        scheme=scheme,
        runtime=name.rpartition("-")[2],
        file=f"{name}.onnx",
        sha256="12" * 32,
        chosen=chosen,
        reason=reason or "fastest within the allowed drop",
        timed_as=f"{name}-u8s8" if int8 and score else None,
        host_ratio_to_fp32=measured(0.52, "x", 0.02).model_copy(update={"level": 0.99}) if int8 and score else None,
        sqnr_db=24.8 if int8 and score else None,
        session={"threads": 4, **({"prepacking": False} if chosen else {})},
        pareto=name.endswith("onnxruntime") and score is not None,
        scored_on="x86_64" if scheme in ("int8_static", "int8_mixed") else None,
        operators={"QLinearConv": 54} if int8 else {"Conv": 54},
    )


def bench() -> Bench:
    """The shipped model timed on the host: 600 raw samples with the tail that a busy machine gives."""
    random = np.random.default_rng(0)
    samples = 3.1 + random.gamma(2.0, 0.12, 600) + np.where(random.random(600) < 0.01, 4.0, 0.0)
    p50, p90, p95, p99 = (float(p) for p in np.percentile(samples, [50, 90, 95, 99]))
    return Bench(
        place="host",
        runtime="onnxruntime",
        runtime_version="1.31.0",
        session={"intra_op_num_threads": 1},
        latency=Latency(
            p50_ms=measured(p50, "ms", 0.02),
            p90_ms=measured(p90, "ms", 0.03),
            p95_ms=measured(p95, "ms", 0.05),
            p99_ms=measured(p99, "ms", 0.6),
            mean_ms=measured(float(samples.mean()), "ms", 0.03),
        ),
        cpu_ms=measured(3.31, "ms", 0.02),
        load_ms=41.7,
        first_ms=6.9,
        memory=Memory(import_kib=64_120, load_kib=71_300, first_kib=73_980, steady_kib=74_004),
        samples_ms=tuple(float(s) for s in samples.round(4)),
        environment={
            "governor": None,
            "load": 0.4,
            "runs": 600,
            "conditions": [
                {"load": 0.4, "clock_mhz": 1800.0, "temperature_c": 52.0},
                {"load": 0.6, "clock_mhz": 1800.0, "temperature_c": 71.0},
                {"load": 0.9, "clock_mhz": 1500.0, "temperature_c": 81.0, "throttled": 4.0},
            ],
        },
        disturbed=("1 % of the runs were slower than twice the median.",),
    )


def distillation() -> Distillation:
    """Both curves rise and flatten, the student's above the control's."""
    steps = tuple(range(500, 10_001, 500))
    student = tuple(round(0.9322 - 0.42 * 0.78**i, 4) for i in range(len(steps)))
    control = tuple(round(0.9231 - 0.47 * 0.79**i, 4) for i in range(len(steps)))
    losses = tuple(round(1.9 * 0.85**i, 4) for i in range(len(steps)))
    return Distillation(
        student="resnet56, channels pruned inside blocks",
        origin="pruned from the teacher to 49 % of its MACs",
        macs_kept=0.492,
        loss="standardised_logits",
        steps=10_000,
        samples=1_280_000,
        seconds=1711.0,
        accelerator="cpu",
        precision="float32",
        curves={
            "student": Curve(steps=steps, losses=losses, scores=student),
            "control": Curve(steps=steps, losses=losses, scores=control),
        },
        gain=Number(value=0.0087, low=0.0031, high=0.0142, unit="fraction", word="measured", place="host", n=4500),
        shipped="student",
        reason="The distilled student scored higher on validation images.",
    )
