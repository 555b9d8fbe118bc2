"""A toy sentiment task: word lists, a tokenizer of whole words, and small encoders trained on it in a second."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

GOOD = ["good", "great", "fine", "lovely", "warm", "bright", "happy"]
BAD = ["bad", "awful", "dull", "grim", "cold", "dark", "sad"]
FILL = ["the", "film", "is", "a", "an", "and", "was", "of", "with", "it", "story", "plot", "cast"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({*GOOD, *BAD, *FILL})]


def write_sentences(folder: Path) -> list[tuple[str, int]]:
    """train.tsv, dev.tsv and test.tsv without headers; return the training sentences with their labels."""
    rng = random.Random(0)
    folder.mkdir(parents=True)
    written: dict[str, list[tuple[str, int]]] = {}
    for name, count in (("train", 400), ("dev", 80), ("test", 120)):
        written[name] = [_sentence(rng, at % 2) for at in range(count)]
        lines = "".join(f"{text}\t{label}\n" for text, label in written[name])
        (folder / f"{name}.tsv").write_text(lines, encoding="utf-8")
    return written["train"]


def write_pairs(folder: Path, numbers: bool = False) -> list[tuple[tuple[str, str], float]]:
    """train.csv, dev.csv and test.csv of which sentence is the better one, 1 if the second, as a class or a number with
    a fraction; return the training pairs with their labels."""
    rng = random.Random(0)
    folder.mkdir(parents=True)
    written: dict[str, list[tuple[tuple[str, str], float]]] = {}
    for name, count in (("train", 400), ("dev", 80), ("test", 120)):
        better = [at % 2 for at in range(count)]
        texts = [(_sentence(rng, 1 - one)[0], _sentence(rng, one)[0]) for one in better]
        labels = [one + 0.5 if numbers else one for one in better]
        written[name] = list(zip(texts, labels, strict=True))
        lines = "".join(f"{at},{one},{two},{label}\n" for at, ((one, two), label) in enumerate(written[name]))
        (folder / f"{name}.csv").write_text(f"idx,sentence1,sentence2,label\n{lines}", encoding="utf-8")
    return written["train"]


def _sentence(rng: random.Random, label: int) -> tuple[str, int]:
    words = rng.choices(FILL, k=rng.randint(3, 9)) + rng.choices((BAD, GOOD)[label], k=rng.randint(1, 2))
    rng.shuffle(words)
    return " ".join(words), label


def tokenizer() -> Any:
    """Word pieces, of which each word here is one, between [CLS] and [SEP]."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.WordPiece({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def train(module: nn.Module, sentences: Sequence[tuple[Any, float]], length: int, passes: int = 4) -> None:
    """So many passes over sentences or pairs; `module` maps ids int64 (batch, length) to logits (batch, 2), or to
    numbers (batch, 1)."""
    reads = tokenizer()
    reads.enable_padding(length=length)
    reads.enable_truncation(length)
    ids = torch.tensor([encoded.ids for encoded in reads.encode_batch([text for text, _ in sentences])])
    labels = torch.tensor([label for _, label in sentences])
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    module.train()
    for step in range(passes * len(ids) // 40):
        at = torch.arange(step * 40, step * 40 + 40) % len(ids)
        said = module(ids[at])
        numbers = labels.is_floating_point()
        loss = (said[:, 0] - labels[at]).square().mean() if numbers else nn.functional.cross_entropy(said, labels[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    module.eval()


def write_bert(folder: Path, sentences: Sequence[tuple[Any, float]] = (), passes: int = 4, **changes: Any) -> None:
    """A BERT of four layers as transformers saves it, trained where there are sentences, with its tokenizer.json."""
    import transformers

    from edgekd.formats.encoder_directory import Encoder

    torch.manual_seed(0)
    settings = {
        **{"vocab_size": len(WORDS), "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2},
        **{"intermediate_size": 64, "max_position_embeddings": 32, "id2label": {0: "negative", 1: "positive"}},
        **changes,
    }
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**settings))
    if sentences:
        pairs = isinstance(sentences[0][0], tuple)
        train(Encoder(model, 0, 3 if pairs else None), sentences, 32 if pairs else 16, passes)
    model.save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
