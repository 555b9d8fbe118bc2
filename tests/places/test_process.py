"""What becomes of samples when a place goes away in between, on a place that is lost by plan."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgekd.errors import EdgekdError, PlaceLost
from edgekd.places import place as places
from edgekd.places.place import Finished, Place, persistently
from edgekd.places.process import joined, remaining, run_program

SPEC: dict[str, Any] = {
    "models": [{"path": "model.onnx", "runtime": "onnxruntime", "session": {}}],
    **{"threads": 1, "seed": 0, "warmup": 5, "min_runs": 10, "min_seconds": 2.0, "max_seconds": 30.0},
}
LOST = "lost"


def left(walls: Sequence[float], *, boot: str | None = "a", stage: str = "done", models: int = 1) -> dict[str, Any]:
    """A result after len(walls) runs in as many tenths of a second."""
    model = {"session": {}, "load_ms": 1.0, "first_ms": 1.0, "wall_ms": list(walls), "cpu_ms": list(walls)}
    ran = {"runs": len(walls), "seconds": len(walls) / 10, "preempted": 1, "conditions": [{"load": walls[0]}]}
    return {"stage": stage, "boot_id": boot, "memory": {}, "models": [model] * models, **ran}


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Place, list[dict[str, Any]]]]:
    """A place whose processes leave the given results, and are lost where the stage is not "done"; and their specs."""
    monkeypatch.setattr(places, "BACK_OFF", (0.0, 0.0))

    def make(*results: dict[str, Any] | None) -> tuple[Place, list[dict[str, Any]]]:
        script, specs, files = iter(results), list[dict[str, Any]](), dict[str, bytes]()
        cut_off = set[str]()

        def put(path: Path) -> str:
            there = f"/{len(files)}/{path.name}"
            files[there] = path.read_bytes() if path.is_file() else b""
            return there

        def run(words: Sequence[str], seconds: float) -> Finished:
            assert cut_off.isdisjoint(files)  # their folders were removed before another program began
            specs.append(json.loads(files[words[-2]]))
            result = next(script)
            if result is not None:
                files[words[-1]] = json.dumps(result).encode()
            if result is None or result["stage"] != "done":
                cut_off.add(words[-1])
                raise PlaceLost("board: the connection was lost.")
            return Finished(0)

        def remove(path: str) -> None:
            for gone in [one for one in files if Path(one).parent == Path(path).parent]:
                del files[gone]

        opened = Place("board", ("python3",), dict, put, run, files.get, remove, lambda: None)
        return opened, specs

    return make


def test_what_was_measured_before_the_loss_counts(scripted) -> None:
    board, specs = scripted(left([1, 2, 3, 4], stage="steady"), left([5, 6, 7, 8, 9, 10, 11, 12]))
    result = run_program(board, SPEC)
    assert result["models"][0]["wall_ms"] == list(range(1, 13))
    assert (result["runs"], result["preempted"], result["processes"]) == (12, 2, 2)
    assert result["seconds"] == pytest.approx(1.2)
    assert result["conditions"] == [{"load": 1}, {"load": 5}]
    assert [spec["min_runs"] for spec in specs] == [10, 6]
    assert [spec["min_seconds"] for spec in specs] == [2.0, pytest.approx(1.6)]
    assert [spec["max_seconds"] for spec in specs] == [30.0, pytest.approx(29.6)]


@pytest.mark.parametrize(("before", "after"), [("a", "b"), (None, None), ("a", None)])
def test_samples_are_never_mixed_across_a_restart(scripted, before: str | None, after: str | None) -> None:
    first, second = left([1.0] * 9, boot=before, stage="steady"), left([2.0], boot=after)
    board, specs = scripted(first, second, left([3.0] * 10, boot=after))
    result = run_program(board, SPEC)
    assert result["models"][0]["wall_ms"] == [3.0] * 10
    assert result["processes"] == 1
    assert [spec["min_runs"] for spec in specs] == [10, 1, 10]


def test_a_process_that_ended_while_we_were_away_is_not_run_again(scripted) -> None:
    board, specs = scripted({**left([1.0] * 10), "stage": "steady"})
    done = left([1.0] * 12)
    fetch = board.fetch
    away = Place(**{**vars(board), "fetch": lambda path: fetch(path) and json.dumps(done).encode()})
    assert run_program(away, SPEC)["runs"] == 12
    assert len(specs) == 1


def test_a_result_that_was_there_before_the_loss_is_fetched_after_it(scripted) -> None:
    board, specs = scripted(left([1.0] * 10))
    fetches: list[str] = []

    def fetch(path: str) -> bytes | None:
        fetches.append(path)
        if len(fetches) == 1:
            raise PlaceLost("board: the connection was lost.")
        return board.fetch(path)

    assert run_program(Place(**{**vars(board), "fetch": fetch}), SPEC)["runs"] == 10
    assert len(specs) == 1 and fetches[0] == fetches[1]


def test_models_in_turn_start_over(scripted) -> None:
    board, specs = scripted(left([1.0] * 9, stage="steady", models=2), left([2.0] * 10, models=2))
    result = run_program(board, {**SPEC, "models": SPEC["models"] * 2})
    assert result["models"][1]["wall_ms"] == [2.0] * 10
    assert [spec["min_runs"] for spec in specs] == [10, 10]
    assert not any(spec["resumable"] for spec in specs)


def test_a_loss_before_the_first_run_is_only_repeated(scripted) -> None:
    board, specs = scripted(None, {"stage": "load", "boot_id": "a", "memory": {}, "models": []}, left([1.0] * 10))
    assert run_program(board, SPEC)["processes"] == 1
    assert len(specs) == 3


def test_a_place_that_stays_away_is_lost(scripted) -> None:
    board, specs = scripted(None, None, None)
    with pytest.raises(PlaceLost, match="the connection was lost; it did not come back in 2 further tries"):
        run_program(board, SPEC)
    assert len(specs) == 3


def test_resuming_is_tried_again_too(scripted) -> None:
    board, _ = scripted()
    resumed = []

    def resume() -> None:
        resumed.append(1)
        if len(resumed) == 1:
            raise PlaceLost("board: no answer.")

    def attempt() -> str:
        if not resumed:
            raise PlaceLost("board: gone.")
        return "done"

    assert persistently(Place(**{**vars(board), "resume": resume}), attempt) == "done"
    assert len(resumed) == 2


def test_a_full_disk_there_is_said(scripted) -> None:
    board, _ = scripted()
    full = Finished(1, stderr="Traceback\nOSError: [Errno 28] No space left on device")
    with pytest.raises(EdgekdError, match="board: the disk is full, no samples could be written"):
        run_program(Place(**{**vars(board), "run": lambda words, seconds: full}), SPEC)


def test_the_place_of_a_death_is_named(scripted) -> None:
    board, _ = scripted()
    with pytest.raises(EdgekdError, match=r"model\.onnx on board: the benchmark process died \(SIGKILL\) at starting"):
        run_program(Place(**{**vars(board), "run": lambda words, seconds: Finished(-9)}), SPEC)


def test_a_run_counts_the_same_in_every_part() -> None:
    thinned = {**left([1.0] * 10), "runs": 100}  # every tenth run was kept
    together = joined([thinned, left([2.0] * 50)])["models"][0]["wall_ms"]
    assert together == [1.0] * 10 + [2.0] * 5


def test_at_least_one_run_remains() -> None:
    rest = remaining(SPEC, [{"runs": 99, "seconds": 40.0}])
    assert (rest["min_runs"], rest["min_seconds"], rest["max_seconds"]) == (1, 0.0, 0.1)
    assert remaining(SPEC, []) == SPEC
