"""State dicts in every wrapping, and the sentences where they do not fit."""

import hashlib
import runpy
import textwrap
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import nn

from edgekd.errors import BadInput, UsageError
from edgekd.formats.architecture import architecture_metadata, build_architecture
from edgekd.formats.identify import identify
from edgekd.formats.read import read_model

OPTION_A = textwrap.dedent(
    """
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inside, outside, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outside)
            self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outside)
            self.stride, self.pad = stride, (outside - inside) // 2

        def forward(self, x):
            y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            if self.stride != 1:
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
            return F.relu(x + y)

    class Net(nn.Module):
        def __init__(self, blocks):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(16)
            inside = 16
            for i, (width, stride) in enumerate(((16, 1), (32, 2), (64, 2)), 1):
                layers = []
                for k in range(blocks):
                    layers.append(Block(inside, width, stride if k == 0 else 1))
                    inside = width
                setattr(self, f"layer{i}", nn.Sequential(*layers))
            self.linear = nn.Linear(64, 10)

        def forward(self, x):
            x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
            return self.linear(x.mean((2, 3)))

    def resnet56():
        return Net(9)

    def build(num_classes):
        return Net(3)
    """
)


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return torchvision.models.squeezenet1_1(weights=None, num_classes=6).state_dict()


@pytest.mark.slow
def test_the_real_checkpoint_gives_its_published_accuracy(shared: Path, tmp_path: Path) -> None:
    """93.39 % on all 10,000 images; above 88 % on the first 300, which wrong weights are not."""
    (tmp_path / "net.py").write_text(OPTION_A)
    loaded = read_model(shared / "models/cifar10-resnet/resnet56_state_dict.pt", arch=f"{tmp_path / 'net.py'}:resnet56")
    pack = runpy.run_path(str(shared / "data/load_packs.py"))["load"](shared / "data/cifar10_test.npz")
    images, labels = pack[0][:300], pack[1][:300]
    mean, std = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
    inputs = torch.tensor(((images / 255 - mean) / std).transpose(0, 3, 1, 2), dtype=torch.float32)
    with torch.no_grad():
        right = (loaded.module(inputs).argmax(1).numpy() == labels).mean()
    assert right > 0.88
    assert loaded.kind == "state dict" and loaded.trainable


def test_a_builder_that_must_be_told_the_classes_is_told(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(OPTION_A)
    loaded = read_model(shared / "models/cifar10-resnet/resnet20_state_dict.pt", arch=f"{tmp_path / 'net.py'}:build")
    assert loaded.module(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "model."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "ema"])
def test_wrappers_and_prefixes_come_off(
    weights: dict[str, torch.Tensor], tmp_path: Path, prefix: str, wrapper: str | None
) -> None:
    named = {f"{prefix}{key}": value for key, value in weights.items()}
    torch.save({wrapper: named, "epoch": 3, "mean": [0.1, 0.2, 0.3]} if wrapper else named, tmp_path / "w.pth")
    loaded = read_model(tmp_path / "w.pth", arch="torchvision:squeezenet1_1")
    assert torch.equal(loaded.module.state_dict()["classifier.1.weight"], weights["classifier.1.weight"])
    assert loaded.metadata == ({"mean": (0.1, 0.2, 0.3)} if wrapper else {})


def test_metadata_are_what_the_checkpoint_says_and_not_what_timm_says(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet18", num_classes=3).state_dict(), tmp_path / "w.pth")
    assert architecture_metadata("timm:resnet18")["mean"]
    assert read_model(tmp_path / "w.pth", arch="timm:resnet18").metadata == {}


@pytest.mark.parametrize("first", [b"PK", b"\x80\x04", b"(\x06", b"}\x02", b"\x1f\x8b"])
def test_safetensors_is_told_by_its_header_whatever_its_length_looks_like(tmp_path: Path, first: bytes) -> None:
    length = int.from_bytes(first, "little")
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(length)
    path = tmp_path / "w.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + header + bytes(4))
    assert safetensors.torch.load_file(path)["w"].tolist() == [0]
    assert identify(path).layout == "safetensors"


def test_safetensors_with_metadata(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "w.bin"
    safetensors.torch.save_file(weights, path, metadata={"std": "[0.5, 0.5, 0.5]", "classes": "a,b,c,d,e,f"})
    loaded = read_model(path, arch="torchvision:squeezenet1_1")
    assert loaded.metadata == {"std": (0.5, 0.5, 0.5), "labels": tuple("abcdef")}
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(BadInput, match="safetensors"):
        read_model(path, arch="torchvision:squeezenet1_1")


def test_the_first_three_misfits_are_named(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    for key in ("features.0.weight", "features.0.bias", "features.3.squeeze.weight", "features.3.squeeze.bias"):
        del weights[key]
    torch.save(weights, tmp_path / "w.pt")
    with pytest.raises(BadInput) as caught:
        read_model(tmp_path / "w.pt", arch="torchvision:squeezenet1_1")
    text = str(caught.value)
    assert (
        "missing 'features.0.weight'; missing 'features.0.bias'; missing 'features.3.squeeze.weight' (and 1 more)"
        in text
    )


@pytest.mark.parametrize("arch", ["torchvision:squeezenet1_1", "torchvision:resnet34", "timm:mobilenetv3_small_100"])
def test_without_arch_the_error_is_the_command_to_type(arch: str, tmp_path: Path) -> None:
    torch.save(build_architecture(arch, num_classes=4).state_dict(), tmp_path / "w.pt")
    with pytest.raises(BadInput) as caught:
        read_model(tmp_path / "w.pt")
    assert f"edgekd compress {tmp_path / 'w.pt'} --arch {arch} --target raspberry-pi" in str(caught.value)


@pytest.mark.slow
def test_nothing_known_proposes_a_file(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(BadInput, match=r"--arch file\.py:build"):
        read_model(tmp_path / "w.pt")


def test_names_that_do_not_exist_are_usage_errors() -> None:
    for spec, near in (("timm:resnet81", "resnet18"), ("torchvision:mobilenetv2", "mobilenet_v2")):
        with pytest.raises(UsageError, match=f"did you mean '{near}'|did you mean"):
            build_architecture(spec)
    with pytest.raises(UsageError, match=r"file\.py:build"):
        build_architecture("resnet18")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def build(:\n", r"net\.py:1: "),
        ("\n\ndef build():\n    return 1 / 0\n", r"net\.py:4: ZeroDivisionError: division by zero"),
        ("def build():\n    return 3\n", "returned int"),
        ("def bild():\n    return 3\n", "did you mean 'bild'"),
        ("import nowhere_at_all\n", r"net\.py:1: ModuleNotFoundError"),
    ],
)
def test_mistakes_in_a_users_file_are_placed(code: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(code)
    with pytest.raises(BadInput, match=expected) as caught:
        build_architecture(f"{tmp_path / 'net.py'}:build")
    assert "\n" not in str(caught.value)


def test_num_classes_reaches_every_kind_of_builder(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef build(num_classes=2):\n    return nn.Linear(3, num_classes)\n"
    )
    assert build_architecture(f"{tmp_path / 'net.py'}:build", num_classes=9).out_features == 9  # type: ignore[union-attr]
    assert build_architecture("timm:resnet18", num_classes=9).get_classifier().out_features == 9  # type: ignore[operator]


def test_timm_says_how_its_inputs_look() -> None:
    config = timm.get_pretrained_cfg("vit_tiny_patch16_224")
    metadata = architecture_metadata("timm:vit_tiny_patch16_224")
    assert metadata["mean"] == config.mean == (0.5, 0.5, 0.5)
    assert metadata["input_size"] == (3, 224, 224) and metadata["crop_pct"] == config.crop_pct
    assert architecture_metadata("torchvision:resnet18") == {}


def test_identify_goes_by_content(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "w.onnx")
    torch.save(weights, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert identify(tmp_path / "w.onnx").kind == identify(tmp_path / "old.pt").kind == "state dict"
    assert identify(tmp_path / "old.pt").layout == "torch legacy"
    assert read_model(tmp_path / "old.pt", arch="torchvision:squeezenet1_1").trainable
