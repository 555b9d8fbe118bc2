"""What of a run is emulated and what stays estimated, and that the report says which."""

from pathlib import Path

import numpy as np
import pytest

from edgekd.device import load_profile
from edgekd.emulated_figures import EmulatedCore
from edgekd.emulated_scores import ScoredThere
from edgekd.errors import BadInput, PlaceLost
from edgekd.figures import Counted, Figures, Number
from edgekd.latency.conversion import Work, time_from_counts
from edgekd.latency.predictor import Prediction
from edgekd.preprocessing import Preprocessing
from edgekd.progress import silent
from edgekd.results import Candidate
from edgekd.stages import emulate as module
from edgekd.stages.emulate import Emulated, emulate
from edgekd.tasks.classification import CLASSIFICATION

PI = load_profile("raspberry-pi-4")
CORE = EmulatedCore("cortex-a72", "1.31.1")
HOW = Preprocessing(identity=True, input_shape=(3,), dtype="float32")


def number(value: float, word: str, unit: str = "ms") -> Number:
    return Number(value=value, unit=unit, word=word, place="raspberry-pi-4")


def candidate(scheme: str, runtime: str = "onnxruntime", *, latency: bool = True, **more) -> Candidate:
    known = number(9.0, "estimated") if latency else None
    return Candidate(
        id=f"{scheme}-{runtime}",
        scheme=scheme,
        runtime=runtime,
        file=f"{scheme}.onnx",
        sha256="0" * 64,
        latency_p50_ms=known,
        latency_p95_ms=known,
        **more,
    )


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception]:
    """By file: what counting it fails with. All others execute as many instructions as their name is long."""
    errors: dict[str, Exception] = {}

    def count(path: Path, core: EmulatedCore, profile, one: np.ndarray) -> tuple[Prediction, Counted]:
        if path.stem in errors:
            raise errors[path.stem]
        work = Work("gemm", "fp32", multiply=0, other=1e6 * len(path.stem))
        prediction = Prediction(
            target=profile.name,
            runtime="onnxruntime",
            runtime_version=core.version,
            threads=4,
            precision="fp32",
            latency_ms=time_from_counts([work], profile, word="emulated"),
            peak_memory_kib=None,
            distance=0.0,
            by_operator={path.stem: 1.0},
        )
        return prediction, Counted(place=core.place, by_class={"total": len(path.stem)})

    monkeypatch.setattr(module, "core_for", lambda profile: CORE)
    monkeypatch.setattr(module, "counted", count)
    return errors


def emulated(folder: Path, *candidates: Candidate, validation: dict[str, float] | None = None) -> Emulated:
    return emulate(
        folder,
        models={"teacher": Path("teacher.onnx")},
        figures={"teacher": Figures(latency_p50_ms=number(5.0, "estimated"))},
        candidates=candidates,
        validation=validation or {},
        files=Path("files"),
        profile=PI,
        preprocessing=HOW,
        task=CLASSIFICATION,
        data=None,
        loaded=folder,
        seconds=1.0,
        seed=0,
        listen=silent,
    )


def words(found: Emulated) -> dict[str, str | None]:
    return {c.id: c.latency_p50_ms and c.latency_p50_ms.word for c in found.candidates}


def test_everything_in_onnxruntime_is_counted_and_openvino_is_said_not_to_be(tmp_path: Path, failing) -> None:
    openvino = candidate("fp16", "openvino", latency=False)
    broken = candidate("int8_mixed", latency=False)
    found = emulated(tmp_path, candidate("fp32"), candidate("int8_static"), broken, openvino)
    assert words(found) == {
        "fp32-onnxruntime": "emulated",
        "int8_static-onnxruntime": "emulated",
        "int8_mixed-onnxruntime": None,
        "fp16-openvino": None,
    }
    fp32, static = found.candidates[:2]
    assert static.latency_p95_ms.value / fp32.latency_p95_ms.value == pytest.approx(11 / 4, rel=0.01)
    assert static.instructions == Counted(place="emulate:cortex-a72@1.31.1", by_class={"total": 11})
    assert found.models["teacher"].latency_p50_ms.word == "emulated"
    assert found.latency_by_operator["int8_static-onnxruntime"] == {"int8_static": 1.0}
    assert found.notes == ("only ONNX Runtime is emulated, so nothing that is said of fp16-openvino was",)


def test_what_cannot_be_counted_keeps_its_estimate_with_the_reason(tmp_path: Path, failing) -> None:
    failing["int8_static"] = BadInput(f"{Path('files', 'int8_static.onnx')}: it has a node that nobody knows")
    found = emulated(tmp_path, candidate("fp32"), candidate("int8_static"))
    assert words(found) == {"fp32-onnxruntime": "emulated", "int8_static-onnxruntime": "estimated"}
    assert found.candidates[1].latency_p50_ms.value == 9.0 and found.candidates[1].instructions is None
    assert found.notes == (
        "int8_static-onnxruntime could not be counted on emulate:cortex-a72@1.31.1, so its latency is an estimate: "
        "int8_static.onnx: it has a node that nobody knows",
    )


def test_where_fp32_cannot_be_counted_all_candidates_keep_their_estimates(tmp_path: Path, failing) -> None:
    failing["fp32"] = BadInput("too large")
    found = emulated(tmp_path, candidate("fp32"), candidate("int8_static"))
    assert set(words(found).values()) == {"estimated"}
    assert found.models["teacher"].latency_p50_ms.word == "emulated"
    assert len(found.notes) == 2 and found.notes[1].endswith("so their latencies are estimates too")


def test_a_kit_that_went_away_ends_the_run(tmp_path: Path, failing) -> None:
    failing["int8_static"] = PlaceLost("the kit is gone")
    with pytest.raises(PlaceLost):
        emulated(tmp_path, candidate("fp32"), candidate("int8_static"))


def test_the_score_there_takes_the_place_of_the_one_here(tmp_path: Path, failing, monkeypatch) -> None:
    there = ScoredThere(
        score=number(0.88, "emulated", "score"),
        drop=number(0.02, "emulated", "fraction"),
        metrics={"accuracy": 0.88, "answers_differing_from_host": 3.0},
        lost=0.01,
    )
    asked = []

    def scores(files, core, **_):
        asked.extend(files)
        return {"int8_static-onnxruntime": there}, ("few samples",)

    monkeypatch.setattr(module, "scores_there", scores)
    here = number(0.9, "measured", "score")
    found = emulated(
        tmp_path,
        candidate("fp32", score=here),
        candidate("int8_dynamic", score=here),
        candidate("int8_static", score=here, scored_on="x86_64"),
        validation={"fp32-onnxruntime": 0.91, "int8_static-onnxruntime": 0.905},
    )
    fp32, dynamic, static = found.candidates
    assert asked == ["int8_static-onnxruntime"]
    assert fp32.score == dynamic.score == here
    assert (static.score, static.drop, static.metrics) == (there.score, there.drop, there.metrics)
    assert static.scored_on is None
    assert found.validation == pytest.approx({"fp32-onnxruntime": 0.91, "int8_static-onnxruntime": 0.895})
    assert found.notes == ("few samples",)
