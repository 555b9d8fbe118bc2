"""Rows of the published latencies that can be rebuilt: ONNX Runtime on Arm, for networks whose graph is at hand."""

import csv
import lzma
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from edgekd.device import load_profile
from edgekd.latency.graph import GraphSummary
from edgekd.latency.optimised import summarise_file

TARGETS = {
    "Raspberry Pi 5": "raspberry-pi-5",
    "Raspberry Pi 4B": "raspberry-pi-4",
    "Snapdragon 7 Gen 4 QRD": "android-mid-range",
    "Dragonwing Q-6690 MTP": "dragonwing-q6690",
}
TORCHVISION = {
    "googlenet": "googlenet",
    "regnet": "regnet_x_3_2gf",
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "resnext50": "resnext50_32x4d",
    "resnext101": "resnext101_32x8d",
    "shufflenet_v2": "shufflenet_v2_x1_0",
    "inception_v3": "inception_v3",
}
OTHERS = ("dla102x", "fcn_resnet50", "yolox")
"""Of timm at 224 pixels, of torchvision at 512, YOLOX-S at 640: where the source says less, what agrees with its number
of operators. Networks whose operators do not agree are left out."""
FAMILIES = ("resnext", "resnet", "yolo11", "yolov8")


@dataclass(frozen=True)
class Row:
    """One published latency. `graph` names its counts in networks.csv; `known` says whether its source states the
    threads."""

    target: str
    net: str
    graph: str
    precision: str
    threads: int
    milliseconds: float
    known: bool

    @property
    def fitted(self) -> bool:
        """Whether it takes part in a fit: boards have rows enough whose threads are stated."""
        return self.known or not self.target.startswith("raspberry")

    @property
    def core(self) -> str:
        """The core that was emulated for networks.csv; float kernels are the same with and without dot product."""
        neon = self.precision == "int8" and load_profile(self.target).latency.level == "neon"
        return "cortex-a72" if neon else "cortex-a76"

    @property
    def family(self) -> str:
        """The series that a network belongs to, else itself."""
        return next((name for name in FAMILIES if self.net.startswith(name)), self.net)


def rows(truth: Path) -> list[Row]:
    """Return the rows whose network can be rebuilt.

    Where the source states no threads, every core is taken to be used, except for int8 Inception on the Raspberry Pi 5:
    on one core it executes 2.6 instructions a cycle, on four it would be 0.65. Qualcomm's Inception is taken at 224
    pixels like its other classifiers; at 299 it would be twice as fast per instruction as they are.
    """
    found = []
    for row in csv.DictReader((truth / "runtimes.csv").open()):
        target = TARGETS.get(row["device"])
        detector = row["model"].startswith(("yolov8", "yolo11", "yolox-"))
        if row["runtime"] != "onnxruntime" or not target or not (detector or row["model"] in {*TORCHVISION, *OTHERS}):
            continue
        known = "unstated" not in row["threads"]
        board = target.startswith("raspberry")
        threads = 1 if board and not detector else load_profile(target).latency.threads
        graph = row["model"] + ("_224" if row["model"] == "inception_v3" and not board else "")
        milliseconds = float(row["latency_ms"])
        found.append(Row(target, row["model"], graph, row["precision"], threads, milliseconds, known))
    return found


def summary(row: Row, graphs: Path, truth: Path) -> GraphSummary | None:
    """Return what `predict` sees of a row's network; None where its graph is neither at hand nor torchvision's."""
    path = graphs / f"{row.graph}.{row.precision}.onnx"
    packed = truth / "graphs" / f"{row.net}.onnx.xz"
    if not path.exists() and packed.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.decompress(packed.read_bytes()))
    if not path.exists() and row.net in TORCHVISION:
        _build(row, path)
    return summarise_file(path, arm=True) if path.exists() else None


def _build(row: Row, path: Path) -> None:
    """Export torchvision's network with random weights; int8 is S8S8 in QDQ form, weights symmetric per channel,
    calibrated on noise: values do not change what is executed."""
    import torch
    import torchvision
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Noise(CalibrationDataReader):
        def __init__(self, shape: tuple[int, ...]) -> None:
            self.left = [{"input": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}]

        def get_next(self) -> dict[str, object] | None:
            return self.left.pop() if self.left else None

    warnings.filterwarnings("ignore")
    special = row.net in ("googlenet", "inception_v3")
    module = getattr(torchvision.models, TORCHVISION[row.net])(
        **({"aux_logits": False, "init_weights": False} if special else {})
    )
    side = 299 if row.graph == "inception_v3" else 224
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_suffix(".float.onnx")
    example = (torch.zeros(1, 3, side, side),)
    torch.onnx.export(module.eval(), example, str(plain), dynamo=False, opset_version=17, input_names=["input"])
    quant_pre_process(str(plain), str(plain), skip_symbolic_shape=True)
    quantize_static(
        str(plain),
        str(path),
        Noise((1, 3, side, side)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
    )
    quantized = onnx.load(path)
    # The tools lose shapes, and onnx's checker refuses outputs without.
    quantized.graph.output[0].CopyFrom(onnx.load(plain).graph.output[0])
    del quantized.graph.value_info[:]
    onnx.save(quantized, path)
    plain.unlink()
