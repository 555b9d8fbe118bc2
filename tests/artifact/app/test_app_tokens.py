"""Token ids in the app graph against the tokenizer that cuts and pads by itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.artifact.app.tokens import Ends, ends_of
from edgekd.data.tokens import fix_length, read_tokenizer
from edgekd.preprocessing import Preprocessing, Tokens

tokenizers = pytest.importorskip("tokenizers")

LENGTH = 8
TEXTS = ["", "a", "a b c", "a b c d e f", "a b c d e f a", "a b c d e f a b", "a b c d e f a b c d e f a b c"]


def tokenizer(closing: str | None) -> Any:
    """Words a to f; "both" has [CLS] before and [SEP] behind, "two" two tokens behind, None nothing."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdef"]
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({one: at for at, one in enumerate(words)}, "[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    template = {"both": "[CLS] $A [SEP]", "two": "$A [SEP] [CLS]", None: "$A"}[closing]
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single=template, special_tokens=[("[CLS]", 2), ("[SEP]", 3)] if closing else []
    )
    return made


@pytest.mark.parametrize(("closing", "tokens"), [("both", 1), ("two", 2), (None, 0)])
@pytest.mark.parametrize("side", ["right", "left"])
def test_ids_are_cut_and_padded_as_the_tokenizer_does_it(open_app, tmp_path: Path, closing, tokens, side) -> None:
    made = tokenizer(closing)
    made.enable_padding(direction=side, pad_id=0, pad_token="[PAD]", length=LENGTH)
    made.save(str(tmp_path / "tokenizer.json"))
    ends = ends_of(tmp_path / "tokenizer.json")
    assert ends == Ends(closing=tokens, pads_left=side == "left")
    text = Tokens(file="tokenizer.json", sha256="", length=LENGTH, pad=0)
    how = Preprocessing(identity=True, input_shape=(LENGTH,), dtype="int64", tokens=text)
    run = open_app(how, opset=13, **ends.model_dump())
    uncut, encode = tokenizer(closing), fix_length(read_tokenizer(tmp_path / "tokenizer.json"), LENGTH, 0)
    for words in TEXTS:
        ids = np.array(uncut.encode(words).ids, np.int64)
        np.testing.assert_array_equal(run(ids=ids)[0], encode(words), err_msg=repr(words))
        np.testing.assert_array_equal(run(ids=encode(words))[0], encode(words), err_msg=repr(words))
