"""A whole run on counts: `compress --emulate` by the command line, with the device's runtime under QEMU."""

import json
from pathlib import Path

import pytest

from edgekd.results import Report

pytestmark = pytest.mark.slow

PLACE = "emulate:cortex-a76@{}"


@pytest.fixture(scope="module")
def arguments(trained_pt2: Path, stripes_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    return [
        *("compress", trained_pt2, "--data", stripes_npz, "--out", tmp_path_factory.mktemp("emulated") / "run"),
        *("--student", "none", "--schemes", "int8_static,int8_dynamic", "--rungs", "none", "--emulate", "--json"),
        *("--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--budget", "latency=1s", "--budget", "drop=50%"),
    ]


@pytest.fixture(scope="module")
def found(emulated_targets: str, arguments: list[object], edgekd) -> Report:
    done = edgekd(*arguments, "--target", "raspberry-pi-5")
    assert done.returncode == 5, done.stderr  # no latency was measured
    assert "counted on cortex-a76" in done.stderr and "samples on cortex-a76" in done.stderr
    return Report.model_validate_json(done.stdout)


def test_what_competes_is_counted_and_int8_scored_by_its_kernels(found: Report, emulated_targets: str) -> None:
    place = PLACE.format(emulated_targets)
    by_scheme = {c.scheme: c for c in found.candidates if c.runtime == "onnxruntime"}
    fp32, static = by_scheme["fp32"], by_scheme["int8_static"]
    assert {c.latency_p95_ms.word for c in by_scheme.values() if c.latency_p95_ms} == {"emulated"}
    assert found.models["teacher"] is not None and found.models["teacher"].latency_p50_ms.word == "emulated"
    assert fp32.instructions.place == static.instructions.place == place
    assert fp32.instructions.by_class["multiply_int8"] == 0 < static.instructions.by_class["dot_product"]
    assert fp32.score.word == "measured" and static.scored_on is None
    assert (static.score.word, static.score.place, static.score.n) == ("emulated", place, 90)
    assert static.metrics["answers_differing_from_host"] <= 9
    assert static.metrics["accuracy"] == pytest.approx(static.score.value)


def test_an_emulated_score_decides_a_budget_and_the_report_says_how_latency_is_known(found: Report) -> None:
    latency, drop = found.budgets
    assert latency.verdict == "inconclusive" and latency.actual.word == "emulated"
    assert drop.verdict == "pass" and drop.actual.word == found.models["shipped"].score.word
    assert "(emulated)" in found.headline
    shipped = found.models["shipped"]
    assert sum(found.latency_by_operator.values()) == pytest.approx(shipped.latency_p50_ms.value, rel=0.01)
    assert any(f"instructions counted on {shipped.instructions.place}" in line for line in found.unknown)


def test_the_same_run_again_takes_it_all_over(found: Report, arguments: list[object], edgekd) -> None:
    again = edgekd(*arguments, "--target", "raspberry-pi-5")
    assert again.returncode == 5 and "counted on" not in again.stderr
    assert json.loads(again.stdout)["candidates"] == json.loads(found.model_dump_json(by_alias=True))["candidates"]


def test_without_the_kit_nothing_is_begun(arguments: list[object], tmp_path: Path, edgekd) -> None:
    bare = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = edgekd(*arguments, "--target", "raspberry-pi-4", "--out", tmp_path / "run", env=bare)
    assert done.returncode == 4 and done.stdout == "" and not (tmp_path / "run").exists()
    assert "edgekd doctor --on emulate:cortex-a72@" in done.stderr and "Traceback" not in done.stderr


def test_a_target_without_an_arm_core_is_refused(arguments: list[object], tmp_path: Path, edgekd) -> None:
    done = edgekd(*arguments, "--target", "intel-n100", "--out", tmp_path / "run")
    assert done.returncode == 2 and "intel-n100 has no Arm processor" in done.stderr
