"""Directories of text encoders: what comes out is what transformers computes, and nothing else in them is trusted."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgekd.api import inspect
from edgekd.errors import BadInput
from edgekd.formats.identify import identify
from edgekd.formats.read import read_model

transformers = pytest.importorskip("transformers")

SMALL = {"vocab_size": 50, "num_labels": 3, "pad_token_id": 0}
BERT = {
    **SMALL,
    **{"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24},
    "max_position_embeddings": 20,
}
DISTILBERT = {**SMALL, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 20}


def write_directory(folder: Path, model_type: str = "bert", **changes: Any) -> Any:
    """A small random classifier as transformers saves it, and the model itself."""
    settings = {**(DISTILBERT if model_type == "distilbert" else BERT), **changes}
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **settings)
    model = transformers.AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():  # random biases, so that no part of the network is without effect
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def refusal(folder: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_model(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("model_type", ["bert", "distilbert", "roberta", "electra"])
def test_logits_are_those_of_transformers_with_the_padding_masked(tmp_path: Path, model_type: str) -> None:
    pad = 1 if model_type == "roberta" else 0
    model = write_directory(tmp_path, model_type, pad_token_id=pad)
    loaded = read_model(tmp_path)
    ids = torch.randint(2, 50, (4, 11), generator=torch.Generator().manual_seed(1))
    ids[1, 5:], ids[2, 3:] = pad, pad
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=(ids != pad).long()).logits
        alone = model(input_ids=ids[1:2, :5]).logits
        torch.testing.assert_close(loaded.module(ids), expected)
    torch.testing.assert_close(expected[1:2], alone)
    assert (loaded.kind, loaded.input_shape, loaded.input_dtype) == ("encoder directory", (None, None), "int64")
    assert loaded.metadata["pad"] == pad
    assert loaded.metadata["max_length"] == (18 if model_type == "roberta" else 20)


def test_the_stated_length_runs_and_one_more_does_not(tmp_path: Path) -> None:
    write_directory(tmp_path, "roberta", pad_token_id=1)
    loaded = read_model(tmp_path)
    loaded.module(torch.full((1, loaded.metadata["max_length"]), 7))
    with pytest.raises((IndexError, RuntimeError)):
        loaded.module(torch.full((1, loaded.metadata["max_length"] + 1), 7))


def test_names_of_classes_unless_nobody_gave_any(tmp_path: Path) -> None:
    write_directory(tmp_path)
    assert "labels" not in read_model(tmp_path).metadata
    edit_config(tmp_path, id2label={"0": "bad", "2": "good", "1": "so-so"})
    assert read_model(tmp_path).metadata["labels"] == ("bad", "so-so", "good")


@pytest.mark.slow
def test_no_connection_is_asked_for_from_the_first_import_on(tmp_path: Path) -> None:
    write_directory(tmp_path)
    edit_config(tmp_path, _name_or_path="somebody/some-model")
    script = (
        "import socket, sys\n"
        "asked = []\n"
        "def refuse(*given, **_):\n"
        "    asked.append(given)\n"
        "    raise OSError('no network')\n"
        "socket.getaddrinfo = socket.socket.connect = socket.socket.connect_ex = refuse\n"
        "from edgekd.formats.read import read_model\n"
        "read_model(sys.argv[1])\n"
        "sys.exit(len(asked))\n"
    )
    online = {name: value for name, value in os.environ.items() if "OFFLINE" not in name}
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=online, check=False).returncode == 0


def test_code_from_elsewhere_is_refused_before_any_of_it_runs(tmp_path: Path) -> None:
    write_directory(tmp_path)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    edit_config(tmp_path, auto_map={"AutoConfig": "evil.Evil", "AutoModelForSequenceClassification": "evil.Evil"})
    assert "auto_map" in refusal(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "berd"}, "did you mean 'bert'?"),
        ({"model_type": None}, "names no model_type"),
        ({"quantization_config": {"bits": 4}}, "quantized weights"),
        ({"vocab_size": 10**9}, "vocab_size"),
        ({"hidden_size": 32}, "has shape"),
        ({"hidden_size": 2**18, "intermediate_size": 2**18}, "has shape"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers"),
        ({"hidden_size": 17}, "cannot build"),
        ({"num_hidden_layers": 5}, "has no weights for"),
        ({"num_hidden_layers": 1}, "weights that a text classifier of this type lacks"),
        ({"pad_token_id": None}, "no pad_token_id"),
        ({"model_type": "resnet"}, "cannot build a text classifier"),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_sentence(tmp_path: Path, changes: dict, said: str) -> None:
    write_directory(tmp_path)
    edit_config(tmp_path, **changes)
    assert said in refusal(tmp_path)


def test_damaged_or_missing_files_are_one_sentence(tmp_path: Path) -> None:
    write_directory(tmp_path)
    (tmp_path / "config.json").write_text("{")
    assert "cannot be read as JSON" in refusal(tmp_path)
    (tmp_path / "config.json").unlink()
    assert "it has no config.json" in refusal(tmp_path)
    write_directory(tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[:-20])
    assert "damaged .safetensors" in refusal(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert "it has no model.safetensors" in refusal(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    assert "in several files" in refusal(tmp_path)


def test_an_encoder_without_its_head_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    write_directory(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "classif" not in k}, tmp_path / "model.safetensors")
    assert "fine-tune it on the classes first" in refusal(tmp_path)


def test_plain_torch_weights_are_read_and_pickled_objects_are_not(tmp_path: Path) -> None:
    model = write_directory(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    ids = torch.tensor([[2, 9, 3, 0]])
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=(ids != 0).long()).logits
        torch.testing.assert_close(read_model(tmp_path).module(ids), expected)
    torch.save(model, tmp_path / "pytorch_model.bin")
    assert "not plain weights" in refusal(tmp_path)


def test_the_hash_is_of_configuration_and_weights(tmp_path: Path) -> None:
    write_directory(tmp_path)
    before = identify(tmp_path).sha256
    (tmp_path / "notes.txt").write_text("unread")
    assert identify(tmp_path).sha256 == before
    edit_config(tmp_path, hidden_act="relu")
    assert identify(tmp_path).sha256 != before


def test_inspect_says_what_a_directory_is(tmp_path: Path) -> None:
    model = write_directory(tmp_path)
    found = inspect(tmp_path)
    assert (found.file.kind, found.file.safe) == ("encoder directory", True)
    assert found.torch is not None
    assert found.torch.params == sum(p.numel() for p in model.parameters())
    assert found.torch.inputs == ("token ids: int64 (any, up to 20), 'bert'",)


@pytest.mark.parametrize("first", [0x80, 0x28, 0x7D, 0x5D, 0x63])
def test_safetensors_whose_header_begins_as_a_pickle_does(tmp_path: Path, first: int) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"a": torch.zeros(3)}, path, {"pad": ""})
    length = int.from_bytes(path.read_bytes()[:8], "little")
    grown = (length // 256 + 1) * 256 + first
    content = path.read_bytes()
    path.write_bytes(grown.to_bytes(8, "little") + content[8 : 8 + length].ljust(grown) + content[8 + length :])
    assert path.read_bytes()[0] == first
    assert (identify(path).kind, identify(path).layout) == ("state dict", "safetensors")
