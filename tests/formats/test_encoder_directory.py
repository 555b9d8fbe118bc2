"""Directories of text encoders: what comes out is what transformers computes, and nothing else in them is trusted."""

import json
import os
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

from edgekd.api import inspect
from edgekd.data.tokens import fix_length, read_tokenizer, separator_of
from edgekd.errors import BadInput
from edgekd.exporting.onnx_export import export_onnx
from edgekd.formats.encoder_directory import of_pairs
from edgekd.formats.identify import identify
from edgekd.formats.read import read_model

tokenizers = pytest.importorskip("tokenizers")
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


PAIRED = {
    "bert": ("[CLS] $A [SEP] $B:1 [SEP]:1", 0),
    "electra": ("[CLS] $A [SEP] $B:1 [SEP]:1", 0),
    "convbert": ("[CLS] $A [SEP] $B:1 [SEP]:1", 0),
    "albert": ("[CLS] $A [SEP] $B:1 [SEP]:1", 0),
    "distilbert": ("[CLS] $A [SEP] $B:1 [SEP]:1", 0),
    "roberta": ("[CLS] $A [SEP] [SEP] $B [SEP]", 1),
}
"""How each family's tokenizer joins a pair, and the id that pads."""
PAIRS = [("a b c", "d"), ("e", "f g"), ("", "a"), ("b", ""), ("c " * 9, "d " * 12), ("a", "b [SEP] c")]


def pair_tokenizer(template: str, pad: int) -> Any:
    """Of single letters, between [CLS] (48) and [SEP] (49), as transformers wraps it."""
    words = {"[UNK]": 2, "[PAD]": pad, "[CLS]": 48, "[SEP]": 49} | {chr(97 + at): 10 + at for at in range(26)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["[PAD]", "[CLS]", "[SEP]"])
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=template, special_tokens=[("[CLS]", 48), ("[SEP]", 49)]
    )
    given = ["input_ids", "attention_mask", "token_type_ids"]
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", model_input_names=given)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", PAIRED)
def test_pairs_get_the_logits_of_transformers(tmp_path: Path, model_type: str) -> None:
    template, pad = PAIRED[model_type]
    theirs = pair_tokenizer(template, pad)
    model = write_directory(tmp_path / "model", model_type, pad_token_id=pad)
    theirs.save_pretrained(tmp_path)
    ours = read_tokenizer(tmp_path / "tokenizer.json")
    separator = separator_of(ours, tmp_path, needed=False)
    assert separator == (None if model_type == "roberta" else 49)
    encode = fix_length(ours, 14, pad, separator)
    ids = torch.from_numpy(np.stack([encode(pair) for pair in PAIRS]))
    texts = map(list, zip(*PAIRS, strict=True))
    read = theirs(*texts, padding="max_length", truncation=True, max_length=14, return_tensors="pt")
    assert torch.equal(ids, read["input_ids"])
    taken = signature(model.forward).parameters
    module = of_pairs(read_model(tmp_path / "model").module, separator)
    with torch.no_grad():
        expected = model(**{name: values for name, values in read.items() if name in taken}).logits
        untyped = model(input_ids=ids, attention_mask=read["attention_mask"]).logits
        torch.testing.assert_close(module(ids), expected)
    typed = bool((untyped - expected).abs().max() > 1e-4)
    assert typed == (model_type in ("bert", "electra", "convbert", "albert"))
    export_onnx(module, ids[:1], tmp_path / "m.onnx", max_opset=17, max_ir=8, output="logits")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert [one.name for one in session.get_inputs()] == ["input"]
    said = [session.run(None, {"input": one[None]})[0][0] for one in ids.numpy()]
    np.testing.assert_allclose(said, expected.numpy(), atol=1e-5)


def test_a_separator_in_a_single_text_changes_nothing(tmp_path: Path) -> None:
    model = write_directory(tmp_path)
    ids = torch.tensor([[48, 10, 49, 11, 49, 0]])
    loaded = read_model(tmp_path)
    with torch.no_grad():
        expected = model(input_ids=ids, attention_mask=(ids != 0).long()).logits
        torch.testing.assert_close(of_pairs(loaded.module, None)(ids), expected)
        assert (of_pairs(loaded.module, 49)(ids) - expected).abs().max() > 1e-3


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
