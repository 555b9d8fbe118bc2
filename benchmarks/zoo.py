"""Fifteen small networks of the usual kinds, exported to float ONNX, for the benchmarks that need many.

    python benchmarks/zoo.py --models build/zoo [NAME...]

Weights are random with a fixed seed. Batch norms then take their statistics from a few inputs, and layer scales are
raised from their start at or near zero, so that activations have the ranges that quantization has to deal with in
a trained network. Inputs are seeded too: images and sounds with the 1/f spectrum of natural ones, words by Zipf's law.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional

from edgekd.exporting.onnx_export import export_onnx

SIDE, WORDS, VOCABULARY = 160, 64, 2000
STATISTICS = 16
"""Inputs from which batch norms take their statistics."""


@dataclass(frozen=True)
class Net:
    """A network by its builder, with the shape of one input and what draws inputs of that shape."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    draw: Callable[[np.random.Generator, tuple[int, ...]], npt.NDArray[Any]]
    output: str = "logits"


def export(name: str, folder: Path) -> Path:
    """Return the network's ONNX file in `folder`, written there unless it exists."""
    path = folder / f"{name}.onnx"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    net = NETS[name]
    torch.manual_seed(0)
    module = net.build()
    settle(module, torch.from_numpy(samples(name, STATISTICS, seed=1)))
    example = torch.from_numpy(samples(name, 1))
    export_onnx(module, example, path, max_opset=20, max_ir=10, output=net.output)
    return path


def samples(name: str, count: int, seed: int = 0) -> npt.NDArray[Any]:
    """Draw inputs for a network, float32 or int64 (count, ...)."""
    net = NETS[name]
    return net.draw(np.random.default_rng(seed), (count, *net.shape))


def settle(module: nn.Module, inputs: torch.Tensor) -> None:
    """Give a freshly built module the ranges of a trained one, and leave it in evaluation mode."""
    for name, parameter in module.named_parameters():
        if name.endswith(".gamma"):  # ConvNeXt's layer scale starts at 1e-6, which would leave its blocks without say
            nn.init.constant_(parameter, 0.5)
    norms = [one for one in module.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    module.eval()
    for norm in norms:
        norm.train()
        norm.momentum = None
        norm.reset_running_stats()
        if not norm.weight.any():  # ResNet's blocks start with nothing to say
            nn.init.ones_(norm.weight)
    with torch.no_grad():
        module(inputs)
    module.eval()


def pink(generator: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Noise whose amplitude falls as 1/frequency over the last two axes, of mean 0 and deviation 1 per sample; the
    channels before them share most of it, as colours do."""
    rows, columns = shape[-2:]
    radius = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)[None, :])
    radius[0, 0] = 1.0
    white = generator.standard_normal(shape) + 2 * generator.standard_normal((shape[0], 1, rows, columns))
    image = np.real(np.fft.ifft2(np.fft.fft2(white) / radius))
    axes = tuple(range(1, len(shape)))
    image = (image - image.mean(axis=axes, keepdims=True)) / image.std(axis=axes, keepdims=True)
    return image.astype(np.float32)


def frames(generator: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Feature frames (count, steps, features) that change slowly over the steps."""
    return pink(generator, (shape[0], 1, *shape[1:]))[:, 0]


def words(generator: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Token indices, the k-th word of the vocabulary 1/k as often as the first."""
    return np.asarray(np.minimum(generator.zipf(1.2, shape), VOCABULARY) - 1, np.int64)


class Encoder(nn.Module):
    """A BERT-like encoder: tied to nothing, 4 layers of width 256 with 4 heads, mean over the words."""

    def __init__(self, width: int = 256, layers: int = 4) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, width)
        self.places = nn.Parameter(torch.randn(1, WORDS, width) * 0.1)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(EncoderBlock(width) for _ in range(layers))
        self.head = nn.Linear(width, 10)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.words(tokens) + self.places)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(dim=1))


class EncoderBlock(nn.Module):
    """Attention and two products, normalised after each, as in BERT."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        query, key, value = (
            one(x).reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for one in (self.query, self.key, self.value)
        )
        weights = torch.softmax(query @ key.transpose(2, 3) / (width // self.heads) ** 0.5, dim=-1)
        mixed = (weights @ value).transpose(1, 2).reshape(batch, length, width)
        x = self.first(x + self.out(mixed))
        return self.second(x + self.down(functional.gelu(self.up(x))))


class Recurrent(nn.Module):
    """Two LSTM layers of 128 over (batch, steps, 40), read at the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 128, num_layers=2, batch_first=True)
        self.head = nn.Linear(128, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def unit(inside: int, outside: int, *, side: int = 3, stride: int = 1, groups: int = 1, act: Any = nn.ReLU) -> Any:
    """Convolution, batch norm and activation."""
    convolution = nn.Conv2d(inside, outside, side, stride, side // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outside), act())


class CrossStage(nn.Module):
    """YOLO's C3 block: half of the channels pass two SiLU bottlenecks, the other half goes around."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.left, self.right = unit(width, half, side=1, act=nn.SiLU), unit(width, half, side=1, act=nn.SiLU)
        self.inner = nn.ModuleList(
            nn.Sequential(unit(half, half, side=1, act=nn.SiLU), unit(half, half, act=nn.SiLU)) for _ in range(2)
        )
        self.join = unit(width, width, side=1, act=nn.SiLU)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.left(x)
        for block in self.inner:
            inner = inner + block(inner)
        return self.join(torch.cat([inner, self.right(x)], dim=1))


def silu_csp() -> nn.Module:
    """A backbone as of YOLOv5n with a classifier's head."""
    layers: list[nn.Module] = [unit(3, 16, side=5, stride=2, act=nn.SiLU)]
    for width in (16, 32, 64, 128):
        layers += [unit(width, 2 * width, stride=2, act=nn.SiLU), CrossStage(2 * width)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))


class Detector(nn.Module):
    """A single-shot detector: MobileNetV2 features at strides 16 and 32, classes and boxes from each; four outputs."""

    def __init__(self, classes: int = 6, anchors: int = 3) -> None:
        super().__init__()
        self.backbone = timm.create_model("mobilenetv2_050", features_only=True, out_indices=(3, 4))
        channels = self.backbone.feature_info.channels()
        self.classes, self.boxes = (
            nn.ModuleList(
                nn.Sequential(unit(one, one, groups=one, act=nn.ReLU6), nn.Conv2d(one, anchors * size, 1))
                for one in channels
            )
            for size in (classes, 4)
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        maps = self.backbone(x)
        heads = [*zip(self.classes, maps, strict=True), *zip(self.boxes, maps, strict=True)]
        return [head(one).flatten(2) for head, one in heads]


def ds_cnn() -> nn.Module:
    """The keyword spotter of MLPerf Tiny: 4 depthwise separable blocks of 64 on 49 x 10 features."""
    layers: list[nn.Module] = [nn.Conv2d(1, 64, (10, 4), 2, (5, 1), bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    for _ in range(4):
        layers += [unit(64, 64, groups=64), unit(64, 64, side=1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 12))


def _timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=100, **options)


IMAGE = (3, SIDE, SIDE)
NETS: dict[str, Net] = {
    "resnet18": Net(_timm("resnet18"), IMAGE, pink),
    "mobilenetv2": Net(_timm("mobilenetv2_100"), IMAGE, pink),
    "mobilenetv3_small": Net(_timm("mobilenetv3_small_100"), IMAGE, pink),
    "mobilenetv3_large": Net(_timm("mobilenetv3_large_100"), IMAGE, pink),
    "efficientnet_b0": Net(_timm("efficientnet_b0"), IMAGE, pink),
    "silu_csp": Net(silu_csp, IMAGE, pink),
    "convnext_atto": Net(_timm("convnext_atto"), IMAGE, pink),
    "vit_tiny": Net(_timm("vit_tiny_patch16_224", img_size=SIDE), IMAGE, pink),
    "bert_4x256": Net(Encoder, (WORDS,), words),
    "lstm_2x128": Net(Recurrent, (WORDS, 40), frames),
    "ssd_mobilenetv2": Net(Detector, IMAGE, pink, output="output"),
    "ds_cnn": Net(ds_cnn, (1, 49, 10), pink),
    "regnetx_002": Net(_timm("regnetx_002"), IMAGE, pink),
    "lcnet_050": Net(_timm("lcnet_050"), IMAGE, pink),
    "shufflenet_v2": Net(lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=100), IMAGE, pink),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(NETS)}; default all")
    parser.add_argument("--models", type=Path, default=Path("build/zoo"))
    arguments = parser.parse_args()
    for name in arguments.names or NETS:
        path = export(name, arguments.models)
        print(f"{name:20} {path.stat().st_size / 2**20:6.1f} MiB  {path}")


if __name__ == "__main__":
    main()
