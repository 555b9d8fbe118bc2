"""How text and tables become a model's inputs: what is settled, where it came from, and what does not fit."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.errors import BadInput, EdgekdError, UsageError
from edgekd.formats.read import read_model
from edgekd.model_inputs import ModelInputs, settle_inputs
from edgekd.recipe_file import make_recipe

pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
toy_text = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("toy_text.py"))))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """sentences/ and an untrained bert/."""
    root = tmp_path_factory.mktemp("toy")
    toy_text.write_sentences(root / "sentences")
    toy_text.write_bert(root / "bert")
    return root


def settle(folder: Path, model: Path, **options: object) -> ModelInputs:
    plan = make_recipe(model=model, **options)
    return settle_inputs(folder, plan, read_model(model, arch=plan.arch))


def test_text_is_read_by_the_tokenizer_in_the_model_s_folder(toy: Path, tmp_path: Path) -> None:
    found = settle(tmp_path, toy / "bert", data=toy / "sentences")
    how = found.preprocessing
    assert (how.shape, how.dtype, how.identity) == ((16,), "int64", True)
    assert how.origin["input_shape"] == "holds 99.5 % of the training texts whole"
    assert how.origin["tokens"] == str(toy / "bert" / "tokenizer.json")
    assert how.tokens is not None
    assert found.reading.encode is not None
    stored = tokenizers.Tokenizer.from_file(str(tmp_path / how.tokens.file))
    for text in ("a great film", "", "unknown words " * 30):
        assert found.reading.encode(text).tolist() == stored.encode(text).ids
        assert len(stored.encode(text).ids) == 16


def test_options_and_missing_data(toy: Path, tmp_path: Path) -> None:
    assert settle(tmp_path, toy / "bert", data=toy / "sentences", max_length=9).preprocessing.shape == (9,)
    alone = settle(tmp_path, toy / "bert").preprocessing
    assert alone.shape == (32,)
    assert alone.tokens is not None
    with pytest.raises(UsageError, match="more than the 32 tokens"):
        settle(tmp_path, toy / "bert", data=toy / "sentences", max_length=33)


def test_options_that_nothing_would_read_are_refused(toy: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "ids.npz", x_train=np.zeros((4, 16), np.int64))
    for option, value in (("label_column", "a"), ("text_column", "b"), ("max_length", 8)):
        with pytest.raises(UsageError, match=f"--{option.replace('_', '-')} is for"):
            settle(tmp_path, toy / "bert", data=tmp_path / "ids.npz", **{option: value})


def test_a_tokenizer_of_more_tokens_than_the_model_knows(toy: Path, tmp_path: Path) -> None:
    toy_text.write_bert(tmp_path / "small", vocab_size=20)
    with pytest.raises(BadInput, match=r"gives ids up to 30, on which the model fails .*this tokenizer does not fit"):
        settle(tmp_path, tmp_path / "small", data=toy / "sentences")


def test_a_tokenizer_that_pads_otherwise(toy: Path, tmp_path: Path) -> None:
    toy_text.write_bert(tmp_path / "other", pad_token_id=3)
    with pytest.raises(BadInput, match="pads with the id 0, but the model masks 3"):
        settle(tmp_path, tmp_path / "other", data=toy / "sentences")


def test_text_without_a_tokenizer_and_a_tokenizer_without_text(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef build(): return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))\n"
    )
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    torch.save(net.state_dict(), tmp_path / "net.pt")
    arch = f"{tmp_path / 'net.py'}:build"
    with pytest.raises(EdgekdError, match="--tokenizer FILE"):
        settle(tmp_path, tmp_path / "net.pt", arch=arch, data=toy / "sentences")
    (tmp_path / "t.csv").write_text("width,label,height\n1,0,2\n3,1,4\n")
    with pytest.raises(UsageError, match="--max-length is for text"):
        settle(tmp_path, tmp_path / "net.pt", arch=arch, data=tmp_path / "t.csv", max_length=8)
    how = settle(tmp_path, tmp_path / "net.pt", arch=arch, data=tmp_path / "t.csv").preprocessing
    assert (how.shape, how.dtype, how.columns) == ((2,), "float32", ("width", "height"))
    assert '"columns"' in how.as_json()
    assert '"tokens"' not in how.as_json()
