"""How far `edgekd predict` is from emulation in the number of instructions, on networks that it was not fitted to.

    python benchmarks/predict_counts.py --models build/unseen [--only NAME]...

Each of the networks below, in float and quantized statically (S8S8, per channel), is counted whole as a Cortex-A53 and
as a Cortex-A76 and predicted for the same. Weights are random: counts do not depend on them. The table goes to
predict_counts.csv; what the predictions took, each in a program of its own, to standard output. Files and counts that
are in the folder already are used again; files come from the `compress` extra.
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from kernel_table import LEVELS, VERSION
from kernels import Samples

from edgekd.emulation.count import count
from edgekd.latency.costs import instructions, outside
from edgekd.latency.optimised import summarise_file

TABLE = Path(__file__).parent / "predict_counts.csv"
SMALLER, USUAL = 160, 224
NETS: dict[str, int] = {
    **dict.fromkeys(("torchvision:densenet121", "torchvision:mobilenet_v3_large", "torchvision:mnasnet0_5"), SMALLER),
    **dict.fromkeys(("torchvision:shufflenet_v2_x0_5", "torchvision:squeezenet1_0", "torchvision:resnet34"), SMALLER),
    **dict.fromkeys(("torchvision:regnet_x_400mf", "mobilenetv4_conv_small", "efficientnet_lite0"), USUAL),
    **dict.fromkeys(("ghostnet_100", "tinynet_e", "hardcorenas_a", "fbnetc_100", "lcnet_050", "resnet10t"), SMALLER),
    **dict.fromkeys(("mobileone_s0", "repvgg_a0", "dla46_c", "hrnet_w18_small", "selecsls42b", "skresnet18"), SMALLER),
    **dict.fromkeys(("rexnet_100", "semnasnet_075", "spnasnet_100", "mixnet_s", "ese_vovnet19b_dw"), USUAL),
    **dict.fromkeys(("starnet_s1", "fastvit_t8", "convnext_atto", "convnextv2_atto"), SMALLER),
    **dict.fromkeys(("edgenext_xx_small", "mobilevit_xxs", "mobilevitv2_050", "efficientvit_b0"), USUAL),
    **dict.fromkeys(("efficientformer_l1", "pit_ti_224", "xcit_nano_12_p16_224", "levit_128s"), USUAL),
    **dict.fromkeys(("gmlp_ti16_224", "tiny_vit_5m_224"), USUAL),
}
"""Architectures of timm or torchvision, and the side of their input: small where it is free, to be counted quickly."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--only", action="append", choices=NETS)
    options = parser.parse_args()
    options.models.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in options.only or NETS:
        for scheme, path in files(name, options.models).items():
            for level in LEVELS:
                rows.append(row(name, scheme, level, path))
                print(*rows[-1].values(), flush=True)
    if not options.only:
        with TABLE.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    report(rows)
    example = min(options.models.glob("*.onnx"), key=lambda path: abs(path.stat().st_size - 25e6))
    wall, cpu = median_seconds(example)
    size = example.stat().st_size / 1e6
    print(f"{example.name}, {size:.0f} MB: {wall:.2f} s per prediction, {cpu:.2f} s of the CPU")


def files(name: str, folder: Path) -> dict[str, Path]:
    """Return a network's float and integer file, made where they are not in the folder."""
    float_file, integer = folder / f"{name.split(':')[-1]}.onnx", folder / f"{name.split(':')[-1]}.int8.onnx"
    if not float_file.exists():
        _export(name, float_file)
    if not integer.exists():
        _quantize(float_file, integer)
    return {"fp32": float_file, "int8": integer}


def _export(name: str, path: Path) -> None:
    import timm
    import torch
    import torchvision

    from edgekd.exporting.onnx_export import export_onnx

    torch.manual_seed(0)
    kind, _, plain = name.rpartition(":")
    side = NETS[name]
    sized = {"img_size": side} if plain.startswith("pit") else {}
    module = torchvision.models.get_model(plain) if kind else timm.create_model(plain, **sized)
    export_onnx(module.eval(), torch.zeros(1, 3, side, side), path, max_opset=20, max_ir=10, output="logits")


def _quantize(given: Path, path: Path) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = path.with_suffix(".prepared")
    quant_pre_process(given, prepared, skip_symbolic_shape=True)
    side = next(side for name, side in NETS.items() if name.split(":")[-1] == given.stem)
    quantize_static(
        prepared,
        path,
        Samples({"input": (1, 3, side, side)}),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()


def row(name: str, scheme: str, level: str, path: Path) -> dict[str, object]:
    """Return one line of the table: counted, predicted, and the operator class that most is predicted for."""
    nodes = summarise_file(path, arm=True).nodes
    by_class: Counter[str] = Counter()
    for node in nodes:
        by_class[node.operator] += round(instructions(node, level).total)
    predicted, counted = sum(by_class.values()), _counted(path, level)
    return {
        "network": name,
        "scheme": scheme,
        "core": LEVELS[level],
        "counted": counted,
        "predicted": predicted,
        "error": round(predicted / counted - 1, 4),
        "outside": round(outside(nodes, level), 3),
        "most": by_class.most_common(1)[0][0],
    }


def _counted(path: Path, level: str) -> int:
    store = path.with_name("counts.json")
    known = json.loads(store.read_text()) if store.exists() else {}
    key = f"{path.name} {LEVELS[level]} {VERSION}"
    if key not in known:
        known[key] = count(path, core=LEVELS[level], version=VERSION).instructions.total
        store.write_text(json.dumps(known, indent=1))
    return int(known[key])


def report(rows: list[dict[str, object]]) -> None:
    """Print the error of all predictions, and by scheme and core."""
    for scheme, core in (("", ""), *((s, c) for s in ("fp32", "int8") for c in LEVELS.values())):
        picked = [one for one in rows if one["scheme"] == (scheme or one["scheme"]) and core in str(one["core"])]
        errors = np.array([abs(float(str(one["error"]))) for one in picked])
        worst = picked[int(errors.argmax())]
        print(
            f"{scheme or 'all'} {core}: {len(picked)} predictions, median {100 * np.median(errors):.1f} %, "
            f"{100 * (errors <= 0.1).mean():.0f} % within 10 %, worst {100 * errors.max():.1f} % ({worst['network']})"
        )


def median_seconds(path: Path, times: int = 7) -> tuple[float, float]:
    """Return what `edgekd predict` takes for a file, the start of the program included: by the clock and of the CPU."""
    taken = []
    for _ in range(times):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "edgekd.cli.main", "predict", str(path), "--target", "raspberry-pi-5", "--json"],
            check=True,
            capture_output=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        taken.append((time.perf_counter() - start, busy))
    wall, cpu = np.median(taken, axis=0)
    return float(wall), float(cpu)


if __name__ == "__main__":
    main()
