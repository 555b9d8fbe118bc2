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
from edgekd.teachers.front import put_front, with_front

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


def write_pairs(folder: Path) -> Path:
    """A table of 40 pairs of words, alike or not."""
    words = toy_text.GOOD[:5]
    rows = [f"{one}\t{two}\t{int(one == two)}\n" for one in words for two in (*words[:3], one)]
    (folder / "pairs.tsv").write_text("premise\thypothesis\tlabel\n" + "".join(rows))
    return folder / "pairs.tsv"


def test_pairs_are_read_with_the_separator_that_the_model_is_told(toy: Path, tmp_path: Path) -> None:
    found = settle(tmp_path, toy / "bert", data=write_pairs(tmp_path))
    tokens = found.preprocessing.tokens
    assert tokens is not None
    assert (tokens.pair, tokens.separator, tokens.length) == (("premise", "hypothesis"), 3, 8)
    assert found.reading.encode is not None
    stored = tokenizers.Tokenizer.from_file(str(tmp_path / tokens.file))
    assert found.reading.encode(("good film", "bad")).tolist() == stored.encode("good film", "bad").ids
    plan = make_recipe(model=toy / "bert")
    teacher = read_model(toy / "bert")
    told, _ = put_front(plan, teacher, found.preprocessing)
    again = with_front(plan, read_model(toy / "bert"), found.preprocessing)
    assert (teacher.module.separator, told.module.separator, again.module.separator) == (None, 3, 3)
    one = settle(tmp_path, toy / "bert", data=tmp_path / "pairs.tsv", text_column="premise").preprocessing
    assert one.tokens is not None
    assert (one.tokens.pair, one.tokens.separator) == ((), None)
    assert put_front(plan, teacher, one)[0].module.separator is None


def test_pairs_of_a_tokenizer_from_which_the_token_types_cannot_be_told(toy: Path, tmp_path: Path) -> None:
    toy_text.write_bert(tmp_path / "bert")
    plain = toy_text.tokenizer()
    plain.post_processor = tokenizers.processors.TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
    plain.save(str(tmp_path / "bert" / "tokenizer.json"))
    with pytest.raises(BadInput, match="does not end each text of a pair with a separator"):
        settle(tmp_path, tmp_path / "bert", data=write_pairs(tmp_path))
    toy_text.write_bert(tmp_path / "untyped", type_vocab_size=1)
    plain.save(str(tmp_path / "untyped" / "tokenizer.json"))
    found = settle(tmp_path, tmp_path / "untyped", data=tmp_path / "pairs.tsv").preprocessing.tokens
    assert found is not None
    assert found.separator is None


def test_padding_on_the_left_stays_there(toy: Path, tmp_path: Path) -> None:
    left = toy_text.tokenizer()
    left.enable_padding(direction="left", pad_id=0, pad_token="[PAD]")
    left.save(str(tmp_path / "tokenizer.json"))
    encode = settle(
        tmp_path, toy / "bert", data=toy / "sentences", tokenizer=tmp_path / "tokenizer.json"
    ).reading.encode
    assert encode is not None
    assert encode("film").tolist()[:13] == [0] * 13


def test_options_and_missing_data(toy: Path, tmp_path: Path) -> None:
    assert settle(tmp_path, toy / "bert", data=toy / "sentences", max_length=9).preprocessing.shape == (9,)
    alone = settle(tmp_path, toy / "bert").preprocessing
    assert alone.shape == (32,)
    assert alone.tokens is not None
    with pytest.raises(UsageError, match="more than the 32 tokens"):
        settle(tmp_path, toy / "bert", data=toy / "sentences", max_length=33)


def test_options_that_nothing_would_read_are_refused(toy: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "ids.npz", x_train=np.zeros((4, 16), np.int64))
    for option, value in (("label_column", "a"), ("text_column", ("b", "c")), ("max_length", 8)):
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
