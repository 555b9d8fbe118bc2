"""Forty architectures that no constant was fitted to, float and quantized, for judging predictions by.

    python benchmarks/unseen.py [--models build/unseen] [NAME...]

They are timm's and torchvision's, built without downloads and settled as those of zoo.py are.
"""

import argparse
import zlib
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from zoo import STATISTICS, pink, settle

from edgekd.device import load_profile
from edgekd.errors import BadInput
from edgekd.exporting.onnx_export import export_onnx
from edgekd.schemes.calibration import CalibrationData
from edgekd.schemes.int8_static import int8_static

SIDES = {
    **dict.fromkeys(("timm:resnet34", "timm:resnet50", "timm:resnet26d", "timm:regnety_004", "timm:regnetx_008"), 160),
    **dict.fromkeys(("timm:mobilenetv1_100", "timm:mobilenetv2_050", "timm:mobilenetv2_140"), 192),
    **dict.fromkeys(("timm:mobilenetv3_small_050", "timm:mobilenetv4_conv_small", "timm:lcnet_100"), 224),
    **dict.fromkeys(("timm:efficientnet_lite0", "timm:efficientnet_b1", "timm:tf_efficientnetv2_b0"), 192),
    **dict.fromkeys(("timm:fbnetc_100", "timm:spnasnet_100", "timm:semnasnet_100", "timm:hardcorenas_a"), 160),
    **dict.fromkeys(("timm:ghostnet_100", "timm:mixnet_s", "timm:tinynet_a", "timm:rexnet_100"), 160),
    **dict.fromkeys(("timm:densenet121", "timm:dla34", "timm:ese_vovnet19b_dw", "timm:selecsls42b"), 160),
    **dict.fromkeys(("timm:mobileone_s0", "timm:repvgg_a0", "timm:cspresnet50", "timm:efficientnet_es"), 160),
    **dict.fromkeys(("timm:convnext_femto", "timm:convnextv2_atto", "timm:edgenext_xx_small"), 160),
    **dict.fromkeys(("timm:deit_tiny_patch16_224", "timm:pit_ti_224", "timm:mixer_s32_224"), 224),
    **dict.fromkeys(("timm:mobilevit_xs",), 192),
    **dict.fromkeys(("torchvision:squeezenet1_1", "torchvision:shufflenet_v2_x1_0", "torchvision:googlenet"), 224),
}
"""Architecture to the side of its images."""


def export(name: str, folder: Path) -> tuple[Path, Path | None]:
    """Return the float and the statically quantized file of an architecture, written to `folder` unless they exist;
    None where it cannot be quantized."""
    base, side = folder / name.replace(":", "."), SIDES[name]
    model, quantized, refused = (base.with_name(base.name + end) for end in (".onnx", ".int8.onnx", ".refused"))
    if not model.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(zlib.crc32(name.encode()))
        module = build(name)
        settle(module, torch.from_numpy(_images(STATISTICS, side, 1)))
        export_onnx(module, torch.from_numpy(_images(1, side, 0)), model, max_opset=20, max_ir=10)
    if not quantized.exists() and not refused.exists():
        numerics = load_profile("host").numerics
        try:
            int8_static(model, quantized, calibration=CalibrationData(_images(8, side, 2)), numerics=numerics)
        except BadInput as error:
            refused.write_text(str(error))
    return model, quantized if quantized.exists() else None


def build(name: str) -> torch.nn.Module:
    """Return an architecture with random weights, for 100 classes."""
    library, _, plain = name.partition(":")
    if library == "timm":
        return timm.create_model(plain, num_classes=100)
    options = {"aux_logits": False, "init_weights": True} if plain == "googlenet" else {}
    return torchvision.models.get_model(plain, num_classes=100, **options)


def _images(count: int, side: int, seed: int) -> np.ndarray:
    return pink(np.random.default_rng(seed), (count, 3, side, side))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SIDES)}; default all")
    parser.add_argument("--models", type=Path, default=Path("build/unseen"))
    arguments = parser.parse_args()
    for name in arguments.names or SIDES:
        model, quantized = export(name, arguments.models)
        size = quantized.stat().st_size / 2**20 if quantized else 0.0
        print(f"{name:32} {model.stat().st_size / 2**20:6.1f} MiB, int8 {size:6.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
