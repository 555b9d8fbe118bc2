"""Tokenizers: what is read, how long a text becomes and why, and a sentence where one is damaged or does not fit."""

from pathlib import Path

import numpy as np
import pytest

from edgekd.data.tokens import fix_length, pad_of, read_tokenizer, separator_of, settle_length, tokenizer_file
from edgekd.errors import BadInput, UsageError

tokenizers = pytest.importorskip("tokenizers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##happy", "film", "a", "."]


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return path


def test_word_pieces_as_bert_splits_them(vocabulary: Path) -> None:
    ids = read_tokenizer(vocabulary).encode("A Unhappy film.").ids
    assert [WORDS[at] for at in ids] == ["[CLS]", "a", "un", "##happy", "film", ".", "[SEP]"]


def test_the_case_is_as_the_configuration_beside_it_has_it(vocabulary: Path) -> None:
    (vocabulary.parent / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert read_tokenizer(vocabulary).encode("A").tokens == ["[CLS]", "[UNK]", "[SEP]"]


def test_transformers_reads_the_same_vocabulary_the_same_way(vocabulary: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertTokenizer(vocab=str(vocabulary))
    for text in ("A Unhappy film.", "", "Ünhappy, a?", "film" * 40, "中a\u200bfilm\ta"):
        assert read_tokenizer(vocabulary).encode(text).ids == theirs(text)["input_ids"], text
        pair = read_tokenizer(vocabulary).encode(text, "a film")
        read = theirs(text, "a film")
        assert (pair.ids, pair.type_ids) == (read["input_ids"], read["token_type_ids"]), text


def test_every_text_gets_one_length_and_the_saved_tokenizer_does_the_same(vocabulary: Path) -> None:
    tokenizer = read_tokenizer(vocabulary)
    encode = fix_length(tokenizer, 5, pad_of(tokenizer, vocabulary, None))
    assert encode("film").tolist() == [2, 6, 3, 0, 0]
    assert encode("a film a film a film").tolist() == [2, 7, 6, 7, 3]
    assert encode("").dtype == np.int64
    again = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    assert again.encode("film").ids == [2, 6, 3, 0, 0]


def test_padding_goes_where_the_tokenizer_puts_it(vocabulary: Path) -> None:
    tokenizer = read_tokenizer(vocabulary)
    tokenizer.enable_padding(direction="left", pad_id=1, pad_token="[UNK]")
    pad = pad_of(tokenizer, vocabulary, None)
    assert fix_length(tokenizer, 4, pad)("film").tolist() == [1, 2, 6, 3]


def test_the_length_holds_all_but_the_few_longest(vocabulary: Path) -> None:
    texts = ["a " * 7] * 399 + ["a " * 500]  # with both ends 9 tokens, and one of 502
    tokenizer = read_tokenizer(vocabulary)
    assert settle_length(tokenizer, texts) == (16, "holds 99.5 % of the training texts whole")
    assert settle_length(tokenizer, texts, longest=12)[0] == 12
    tokenizer.enable_truncation(10)
    assert settle_length(tokenizer, texts)[0] == 10
    tokenizer.no_truncation()
    assert settle_length(tokenizer, ["a " * 600] * 9)[0] == 512
    assert settle_length(tokenizer, texts, asked=40) == (40, "option")
    assert settle_length(tokenizer, texts, fixed=24) == (24, "the model's input")
    assert settle_length(read_tokenizer(vocabulary), [])[0] == 128


def test_pairs_are_counted_whole_and_cut_where_they_are_longest(vocabulary: Path) -> None:
    tokenizer = read_tokenizer(vocabulary)
    assert settle_length(tokenizer, [("a " * 7, "film " * 6)] * 9, pair=True)[0] == 16  # 13 and three between them
    assert settle_length(tokenizer, [("a " * 7, "film " * 7)] * 9, pair=True)[0] == 24
    encode = fix_length(tokenizer, 8, 0, separator_of(tokenizer, vocabulary, needed=True))
    assert encode(("a", "film " * 9)).tolist() == [2, 7, 3, 6, 6, 6, 6, 3]
    assert encode(("a " * 9, "film")).tolist() == [2, 7, 7, 7, 7, 3, 6, 3]
    assert encode(("a", "")).tolist() == [2, 7, 3, 3, 0, 0, 0, 0]
    with pytest.raises(UsageError, match="--max-length 3 leaves no room beside the 3 special tokens"):
        settle_length(tokenizer, [], pair=True, asked=3)
    assert settle_length(tokenizer, [], asked=3)[0] == 3


def test_the_separator_is_what_ends_both_texts_and_the_first_must_not_hold_it(vocabulary: Path) -> None:
    tokenizer = read_tokenizer(vocabulary)
    tokenizer.add_special_tokens(["[SEP]"])
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=20)
    separator = separator_of(tokenizer, vocabulary, needed=True)
    assert separator == 3
    encode = fix_length(tokenizer, 8, 0, separator)
    assert encode(("a", "a [SEP] a")).tolist() == [2, 7, 3, 7, 3, 7, 3, 0]
    assert encode("a [SEP] a").tolist() == [2, 7, 3, 7, 3, 0, 0, 0]
    with pytest.raises(BadInput, match=r"'a \[SEP\] a' holds \[SEP\], which tells where the first of two texts ends"):
        encode(("a [SEP] a", "a"))


UNENDED = "does not end each text of a pair with a separator"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("[CLS] $A [SEP] $B:1 [SEP]:1", 3),
        ("[CLS] $A [SEP] $B [SEP]", None),
        ("$A [SEP] [CLS] $B [SEP]", None),
        ("$A [SEP] $B:1 [SEP]:1 [CLS]:2", UNENDED),  # as XLNet's
        ("[CLS] $A $B:1 [SEP]:1", UNENDED),
        ("[CLS] $A [SEP] [SEP] $B:1 [SEP]:1", UNENDED),
        ("$A $B:1", UNENDED),
    ],
)
def test_what_is_no_separator(vocabulary: Path, template: str, expected: int | str | None) -> None:
    tokenizer = read_tokenizer(vocabulary)
    special = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A", pair=template, special_tokens=special
    )
    if not isinstance(expected, str):
        assert separator_of(tokenizer, vocabulary, needed=True) == expected
        return
    assert separator_of(tokenizer, vocabulary, needed=False) is None
    with pytest.raises(BadInput, match=expected):
        separator_of(tokenizer, vocabulary, needed=True)


def test_a_tokenizer_that_cannot_read_a_word(tmp_path: Path) -> None:
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"film": 0, "[PAD]": 1}, unk_token="[UNK]"))
    with pytest.raises(
        BadInput, match=r"t\.json: cannot split a text \(WordLevel error: Missing \[UNK\] token"
    ) as caught:
        separator_of(words, tmp_path / "t.json", needed=False)
    assert "\n" not in str(caught.value)


def test_lengths_that_the_model_does_not_take_are_refused(vocabulary: Path) -> None:
    tokenizer = read_tokenizer(vocabulary)
    with pytest.raises(UsageError, match="more than the 32 tokens"):
        settle_length(tokenizer, [], asked=40, longest=32)
    with pytest.raises(UsageError, match="contradicts the model's input of 24"):
        settle_length(tokenizer, [], asked=40, fixed=24)


def test_a_tokenizer_without_padding_or_with_another(vocabulary: Path) -> None:
    tokenizer = read_tokenizer(vocabulary)
    with pytest.raises(BadInput, match="pads with the id 0, but the model masks 5"):
        pad_of(tokenizer, vocabulary, 5)
    vocabulary.write_text("[UNK]\n[CLS]\n[SEP]\nfilm\n")
    with pytest.raises(BadInput, match="no padding token"):
        pad_of(read_tokenizer(vocabulary), vocabulary, None)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"\x00\xff\xfe", b"[1, 2]", b'{"version": "1.0", "model": {"type": "?"}}', b"[" * 100_000],
)
def test_a_damaged_tokenizer_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(BadInput, match="not a tokenizer") as caught:
        read_tokenizer(tmp_path / "tokenizer.json")
    assert "\n" not in str(caught.value)


def test_where_the_tokenizer_is_looked_for(vocabulary: Path) -> None:
    folder = vocabulary.parent
    model = folder / "model.pt"
    model.write_bytes(b"")
    assert tokenizer_file(None, folder) == vocabulary
    assert tokenizer_file(None, model) is None
    assert tokenizer_file(str(folder), model) == vocabulary
    (folder / "tokenizer.json").write_text("{}")
    assert tokenizer_file(None, folder) == folder / "tokenizer.json"
    with pytest.raises(BadInput, match="There is no --tokenizer"):
        tokenizer_file(str(folder / "absent"), model)
