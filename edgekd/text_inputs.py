"""How text becomes the inputs of this model: which tokenizer, which length, and whether both fit it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from edgekd.data.reading import Reading
from edgekd.data.readers import kind_of
from edgekd.data.source import Part
from edgekd.data.table_file import read_tables
from edgekd.data.tokens import fix_length, pad_of, read_tokenizer, settle_length, tokenizer_file
from edgekd.errors import BadInput, UsageError
from edgekd.formats.read import LoadedModel
from edgekd.preprocessing import Preprocessing, Tokens
from edgekd.recipe import Recipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"
MEASURED = 5000
"""Texts of train, evenly spread, whose lengths tell what is needed."""


@dataclass(frozen=True)
class TextInputs:
    """What reads the data's tables. `tokens` is None where there is no text; `origin` says where its settings came
    from, and `tokenizer` is the content of the file that goes into the artifact."""

    reading: Reading
    tokens: Tokens | None = None
    tokenizer: str = ""
    origin: dict[str, str] | None = None

    def described(self, how: Preprocessing, columns: tuple[str, ...]) -> Preprocessing:
        """The preprocessing with what is known of tokens or of a table's columns."""
        return how.model_copy(
            update={"tokens": self.tokens, "columns": columns, "origin": {**how.origin, **(self.origin or {})}}
        )

    def shaped(self, teacher: LoadedModel) -> LoadedModel:
        """The teacher with the length that its inputs are given, where it takes any and there are no data to tell."""
        open_length = teacher.input_shape == (None, None)
        return replace(teacher, input_shape=(None, self.tokens.length)) if self.tokens and open_length else teacher


def settle_text(plan: Recipe, teacher: LoadedModel) -> TextInputs:
    """Find the tokenizer that the data's text, or without data the model, needs, and hold it against the model.

    Raises:
        UsageError: options of text where there is none, or a length that the model has no positions for.
        BadInput: the table or the tokenizer is damaged, or the tokenizer does not fit the model.
    """
    reading = Reading(plan.label_column, plan.text_column)
    table = read_tables(plan.data, reading) if plan.data and kind_of(plan.data) == "table" else None
    path = tokenizer_file(plan.tokenizer, Path(str(plan.model)))
    if plan.data and not (table and table.text):
        given = [name for name in ("tokenizer", "max_length") if getattr(plan, name) is not None]
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} is for text, and {plan.data} holds none")
        return TextInputs(reading)
    if path is None:
        return TextInputs(reading)  # text without a tokenizer is refused where it is read
    tokenizer = read_tokenizer(path)
    pad = pad_of(tokenizer, path, teacher.metadata.get("pad"))
    texts = _spread(table.parts["train"]) if table else iter(())
    length, why = settle_length(
        tokenizer, texts, asked=plan.max_length, longest=teacher.metadata.get("max_length"), fixed=_fixed(teacher)
    )
    check_vocabulary(tokenizer, path, teacher.module, length)
    encode = fix_length(tokenizer, length, pad)
    content = tokenizer.to_str(pretty=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return TextInputs(
        reading=replace(reading, encode=encode),
        tokens=Tokens(file=TOKENIZER, sha256=digest, length=length, pad=pad),
        tokenizer=content,
        origin={"tokens": str(path), "input_shape": why},
    )


def check_vocabulary(tokenizer: "Tokenizer", path: Path, module: nn.Module, length: int) -> None:
    """Run the model on the tokenizer's highest id, where it runs on inputs of this length at all.

    Raises BadInput where that id is beyond the model's vocabulary.
    """
    highest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if _fails(module, torch.zeros((1, length), dtype=torch.int64)) is None:
        failure = _fails(module, torch.full((1, length), highest))
        if failure is not None:
            raise BadInput(
                f"{path} gives ids up to {highest}, on which the model fails ({failure}): this tokenizer does not fit; "
                "give the one that the model was trained with"
            )


def _fails(module: nn.Module, ids: torch.Tensor) -> str | None:
    try:
        with torch.inference_mode():
            module(ids)
    except Exception as error:  # modules and runtimes raise anything
        return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
    return None


def _fixed(teacher: LoadedModel) -> int | None:
    """The one length that the model file was made for, where it takes no other."""
    shape = teacher.input_shape
    return shape[1] if shape is not None and len(shape) == 2 else None


def _spread(part: Part) -> Iterator[str]:
    for at in np.unique(np.linspace(0, part.count - 1, MEASURED).astype(int)).tolist():
        yield part.fetch(at)
