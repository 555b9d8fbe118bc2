"""Nothing is unpickled, and no TorchScript is loaded, without the user's word."""

import pickle
import pickletools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgekd.errors import BadInput
from edgekd.formats.identify import identify
from edgekd.formats.pickle_names import TENSOR_NAMES, UNRESOLVED, names_in
from edgekd.formats.read import read_model


class Canary:
    """Unpickled, it leaves a file behind."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.file,))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_pickle_runs_only_when_trusted(tmp_path: Path, zipped: bool, wrapped: bool) -> None:
    canary, file = tmp_path / "canary", tmp_path / "model.pt"
    content = {"state_dict": {"weight": torch.zeros(2)}, "note": Canary(canary)} if wrapped else Canary(canary)
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    kind = identify(file)
    assert kind.kind == "pickled module" and not kind.safe and any("touch" in n or "getattr" in n for n in kind.names)
    with pytest.raises(BadInput, match="--trust"):
        read_model(file)
    with pytest.raises(BadInput, match="--trust"):
        read_model(file, arch="torchvision:resnet18")
    assert not canary.exists()


def test_a_bare_pickle_does_not_run(tmp_path: Path) -> None:
    canary, file = tmp_path / "canary", tmp_path / "model.pt"
    for protocol in range(2, 6):
        file.write_bytes(pickle.dumps(Canary(canary), protocol))
        with pytest.raises(BadInput, match="--trust"):
            read_model(file)
    assert not canary.exists()


def test_operands_shuffled_on_the_stack_are_never_called_harmless() -> None:
    """os.system lies under two harmless strings that are popped again before STACK_GLOBAL."""

    def text(value: str) -> bytes:
        return pickle.SHORT_BINUNICODE + bytes([len(value)]) + value.encode()

    hidden = b"\x80\x04" + text("os") + text("system") + text("torch") + text("Size") + b"00\x93."
    import io

    assert names_in(io.BytesIO(hidden)) == {UNRESOLVED}
    assert UNRESOLVED not in TENSOR_NAMES
    assert [op.name for op, _, _ in pickletools.genops(hidden)][-4:] == ["POP", "POP", "STACK_GLOBAL", "STOP"]


def test_a_trusted_module_is_loaded(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).half()
    torch.save(net, tmp_path / "net.pt")
    with pytest.raises(BadInput, match=r"torch\.nn"):
        read_model(tmp_path / "net.pt")
    loaded = read_model(tmp_path / "net.pt", trust=True)
    assert loaded.module(torch.zeros(2, 3, 2, 2)).dtype == torch.float32
    assert loaded.trainable and "trusted" in loaded.notes[0]


def test_torchscript_is_loaded_only_when_trusted(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()
    path = tmp_path / "script.pt2"
    torch.jit.save(torch.jit.trace(net, torch.zeros(1, 3, 2, 2)), path)
    assert identify(path).kind == "torchscript"
    with pytest.raises(BadInput, match="--trust"):
        read_model(path)
    loaded = read_model(path, trust=True)
    images = torch.randn(4, 3, 2, 2)
    assert torch.allclose(loaded.module(images), net(images)) and not loaded.trainable


@pytest.mark.parametrize(
    "content", [b"", b"x", b"hello world, this is no model", bytes(range(256)) * 8, b"\x80\x02", b"PK\x03\x04"]
)
def test_garbage_gets_one_sentence(content: bytes, tmp_path: Path) -> None:
    for suffix in (".pt", ".pt2", ".onnx", ".safetensors"):
        file = tmp_path / f"model{suffix}"
        file.write_bytes(content)
        with pytest.raises(BadInput) as caught:
            read_model(file)
        assert "\n" not in str(caught.value) and str(file) in str(caught.value)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        read_model(tmp_path / "none.pt")
    with pytest.raises(BadInput, match="a folder"):
        read_model(tmp_path)
