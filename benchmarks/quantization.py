"""Whether what edgekd ships is never slower than fp32 and as fast as the best of its peers, on networks of many kinds.

    python benchmarks/quantization.py [NAME...] --out build/quantization

Each network of `zoo.py` goes through `edgekd compress --student none --target host`, with fidelity to itself as the
score, and through what a user would otherwise call: `quantize_static` as it is and with the settings that ONNX
Runtime's documentation gives for this processor, `quantize_dynamic`, and NNCF with OpenVINO's own choice of precision.
The chosen file is then timed against fp32 and against every peer of equal fidelity (signal to noise at most 1 dB below
the chosen one's), in turns, by process CPU time at one thread. Finished networks are taken from `--out` again.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zoo
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import edgekd
from edgekd.benchmark_program import import_runtime
from edgekd.onnx_graph import quietly
from edgekd.parity import sqnr_db
from edgekd.places.timing import compare
from edgekd.runtimes import predict_all

TRAIN, HELD_OUT = 256, 128
SCHEMES = "bf16,int8_dynamic,int8_weights,int8_static,int8_products,int8_fused,int8_nncf"
"""What competes with fp32. The outputs of random weights hardly vary, which makes any score strict beyond measure: so
scores do not decide, only the floor of signal to noise and speed do, and the ladder stays out of it."""
EQUAL_DB = 1.0
GOAL = 1.02
"""The interval of chosen against the best peer of equal fidelity is to reach down to this."""


@dataclass(frozen=True)
class Peer:
    """What a peer made, and how it is run: a file, a runtime, its options."""

    name: str
    path: Path
    runtime: str
    session: dict[str, Any]


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Calibration inputs one by one, as the documentation of ONNX Runtime shows it."""

    def __init__(self, inputs: np.ndarray) -> None:
        self.inputs = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        one = next(self.inputs, None)
        return None if one is None else {"input": one[None]}


def peers(model: Path, inputs: np.ndarray, folder: Path) -> tuple[list[Peer], list[str]]:
    """Quantize by every peer; those that fail are returned by name with their words."""
    prepared = folder / "prepared.onnx"
    with quietly():
        quant_pre_process(model, prepared, skip_symbolic_shape=True)
    makers = {
        "static": lambda out: quantize_static(prepared, out, Reader(inputs)),
        "static_u8s8": lambda out: quantize_static(
            prepared, out, Reader(inputs), per_channel=True, activation_type=QuantType.QUInt8
        ),
        "dynamic": lambda out: quantize_dynamic(prepared, out),
    }
    found, failed = [], []
    for name, make in makers.items():
        out = folder / f"{name}.onnx"
        try:
            with quietly():
                make(out)
            found.append(Peer(name, out, "onnxruntime", {}))
        except Exception as error:
            failed.append(f"{name}: {str(error)[:100]}")
    try:
        found.append(nncf_openvino(model, inputs, folder))
    except Exception as error:
        failed.append(f"nncf: {str(error)[:100]}")
    return found, failed


def nncf_openvino(model: Path, inputs: np.ndarray, folder: Path) -> Peer:
    """NNCF's defaults on OpenVINO's model, run in the precision that OpenVINO takes by itself."""
    openvino = import_runtime("openvino")
    with quietly():
        import nncf

        data = nncf.Dataset([one[None] for one in inputs])
        quantized = nncf.quantize(openvino.Core().read_model(model), data)
    path = folder / "nncf.xml"
    openvino.save_model(quantized, path, compress_to_fp16=False)
    return Peer("nncf_openvino", path, "openvino", {"INFERENCE_PRECISION_HINT": own_precision()})


def own_precision() -> str:
    """The precision that OpenVINO computes float layers in when nothing is asked for."""
    openvino = import_runtime("openvino")
    model = openvino.Core().compile_model(openvino.Model([], [], "empty"), "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    return str(model.get_property("INFERENCE_PRECISION_HINT").get_type_name())


def fidelity(exact: tuple[np.ndarray, ...], peer: Peer, inputs: np.ndarray) -> float:
    """Signal to noise of the worst output, in decibels."""
    said = predict_all(peer.path, [inputs], runtime=peer.runtime, options=peer.session)
    return min(sqnr_db(one, other) for one, other in zip(exact, said, strict=True))


def judge(name: str, out: Path) -> dict[str, Any]:
    """Take one network through edgekd and its peers; everything measured, as JSON holds it."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    model = zoo.export(name, out / "zoo")
    inputs = zoo.samples(name, TRAIN + 2 * HELD_OUT)
    parts = np.split(inputs, [TRAIN, TRAIN + HELD_OUT])
    np.savez(folder / "data.npz", x_train=parts[0], x_val=parts[1], x_test=parts[2])
    run = folder / "run"
    report = edgekd.compress(
        str(model),
        data=str(folder / "data.npz"),
        target="host",
        student="none",
        task="generic",
        schemes=SCHEMES,
        rungs="none",
        budget=("drop=100%",),
        out=run,
    )
    exact, files = predict_all(model, [parts[2]]), run / "stages" / "quantize"
    chosen = next(one for one in report.candidates if one.chosen)
    ours = Peer("chosen", files / chosen.file, chosen.runtime, options_of(chosen.session))
    others, failed = peers(model, parts[0], folder)
    np.save(folder / "one.npy", parts[2][:1])
    ours_db = fidelity(exact, ours, parts[2])
    rows = [row_of(peer, fidelity(exact, peer, parts[2]), ours, ours_db, folder) for peer in others]
    rows.insert(0, row_of(Peer("fp32", model, "onnxruntime", {}), 200.0, ours, ours_db, folder, always=True))
    return {
        "name": name,
        "chosen": chosen.id,
        "reason": chosen.reason,
        "sqnr_db": round(ours_db, 1),
        "size_kib": chosen.size_kib,
        "candidates": [
            {
                "id": one.id,
                "ratio": one.host_ratio_to_fp32 and one.host_ratio_to_fp32.value,
                "sqnr_db": one.sqnr_db,
                "size_kib": one.size_kib,
                "score": one.score and one.score.value,
                "reason": one.reason,
            }
            for one in report.candidates
        ],
        "peers": rows,
        "failed": failed,
    }


def options_of(session: dict[str, Any]) -> dict[str, Any]:
    """A candidate's options without threads, of which there is one here, and without the runtime's own format."""
    return {key: value for key, value in session.items() if key not in ("threads", "file")}


def row_of(
    peer: Peer, signal: float, ours: Peer, ours_db: float, folder: Path, *, always: bool = False
) -> dict[str, Any]:
    """A peer's figures, with what the chosen file costs relative to it where both are of equal fidelity."""
    row: dict[str, Any] = {"name": peer.name, "sqnr_db": round(signal, 1), "equal": signal >= ours_db - EQUAL_DB}
    row["size_kib"] = round(
        sum(p.stat().st_size for p in {peer.path, peer.path.with_suffix(".bin")} if p.exists()) / 1024
    )
    if row["equal"] or always:
        ratio = compare(
            peer.path,
            ours.path,
            runtime_a=peer.runtime,
            runtime_b=ours.runtime,
            session_a=peer.session,
            session_b=ours.session,
            inputs=folder / "one.npy",
        )
        row |= {"chosen_costs": [ratio.value, ratio.low, ratio.high]}
    return row


def table(results: list[dict[str, Any]]) -> str:
    """What the README shows: one line a network."""
    head = ("network", "shipped", "SQNR", "size", "against fp32", "best peer of equal fidelity", "against it", "goal")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for found in results:
        fp32, *others = found["peers"]
        equal = [one for one in others if "chosen_costs" in one]
        best = max(equal, key=lambda one: one["chosen_costs"][0], default=None)
        reached = best is None or best["chosen_costs"][1] <= GOAL
        cells = (
            found["name"],
            found["chosen"],
            f"{found['sqnr_db']} dB" if found["sqnr_db"] < 199 else "exact",
            f"{found['size_kib'] / 1024:.1f} MiB",
            interval(fp32["chosen_costs"]),
            best["name"] if best else "none",
            interval(best["chosen_costs"]) if best else "",
            "yes" if reached else "no",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def schemes_table(results: list[dict[str, Any]]) -> str:
    """Every network by every candidate: CPU time relative to fp32 in ONNX Runtime, signal to noise, size of the file.

    Candidates below the floor of signal to noise are not timed. The chosen one is set in bold.
    """
    columns = sorted({one["id"] for found in results for one in found["candidates"]})
    lines = ["| network | " + " | ".join(columns) + " |", "|" + "---|" * (len(columns) + 1)]
    for found in results:
        cells = {one["id"]: candidate_cell(one) for one in found["candidates"]}
        cells[found["chosen"]] = f"**{cells[found['chosen']]}**"
        lines.append("| " + " | ".join([found["name"], *(cells.get(column, "") for column in columns)]) + " |")
    return "\n".join(lines)


def candidate_cell(candidate: dict[str, Any]) -> str:
    time = "" if candidate["ratio"] is None else f"{candidate['ratio']:.2f}, "
    signal = candidate["sqnr_db"]
    fidelity = "" if signal is None else "exact, " if signal > 199 else f"{signal:.0f} dB, "
    return f"{time}{fidelity}{candidate['size_kib'] / 1024:.1f} MiB"


def interval(costs: list[float]) -> str:
    return f"{costs[0]:.2f} [{costs[1]:.2f}, {costs[2]:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(zoo.NETS)}; default all")
    parser.add_argument("--out", type=Path, default=Path("build/quantization"))
    arguments = parser.parse_args()
    results = []
    for name in arguments.names or zoo.NETS:
        kept = arguments.out / name / "result.json"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            result = judge(name, arguments.out)
            kept.write_text(json.dumps(result, indent=1))
        results.append(json.loads(kept.read_text()))
        print(table(results[-1:]), flush=True)
    print(f"\n{table(results)}\n\n{schemes_table(results)}")


if __name__ == "__main__":
    main()
