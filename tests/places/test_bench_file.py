"""`bench --json`, key for key."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd.errors import BadInput
from edgekd.places.bench_file import bench_file


def test_the_record_is_the_published_object(matmul_chain: Callable[..., Path]) -> None:
    path = matmul_chain("model", count=2, rows=32, width=64)
    result = json.loads(bench_file(path, min_runs=10, min_seconds=0.0).model_dump_json(by_alias=True))
    assert set(result) == {
        *("schema", "model", "place", "environment", "latency", "load_ms", "first_ms", "memory", "instructions")
    }
    assert result["schema"] == 1 and result["place"] == "host" and result["instructions"] is None
    assert result["model"] == {
        "path": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "macs": 2 * 32 * 64 * 64,
        "params": 2 * 64 * 64,
    }
    assert set(result["latency"]) == {"p50_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms"}
    assert set(result["latency"]["p95_ms"]) == {"value", "low", "high", "level", "unit", "word", "place", "n"}
    assert set(result["memory"]) == {"import_kib", "load_kib", "first_kib", "steady_kib"}
    assert result["environment"]["runtime"] == "onnxruntime" and result["environment"]["threads"] == 1


def test_a_corrupt_model_is_refused_before_any_runtime_sees_it(tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"not a model")
    with pytest.raises(BadInput) as refused:
        bench_file(bad)
    assert "bad.onnx" in str(refused.value) and "\n" not in str(refused.value)
