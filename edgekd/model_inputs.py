"""How data become the inputs of this model: pixels as it was trained on them, text by its own tokenizer, or as is."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from edgekd.data.peek import DataFacts, peek
from edgekd.data.readers import kind_of
from edgekd.data.reading import Encode, Reading, Text
from edgekd.data.source import Part
from edgekd.data.table_file import read_tables
from edgekd.data.tokens import fix_length, pad_of, read_tokenizer, separator_of, settle_length, tokenizer_file
from edgekd.errors import BadInput, UsageError, reason_of
from edgekd.formats.architecture import architecture_metadata
from edgekd.formats.encoder_directory import has_token_types
from edgekd.formats.read import LoadedModel
from edgekd.input_options import resolve_preprocessing
from edgekd.preprocessing import Preprocessing, Tokens
from edgekd.recipe import Recipe
from edgekd.tasks.table import find_task
from edgekd.workspace import write_atomic

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"
MEASURED = 5000
"""Texts of train, evenly spread, whose lengths tell what is needed."""
_OPTIONS = (
    *("input_size", "mean", "std", "scale", "channels", "resize", "crop"),
    *("sample_rate", "duration"),
)


@dataclass(frozen=True)
class ModelInputs:
    """What a first look at the data and the model settles. `facts` is None without data."""

    facts: DataFacts | None
    reading: Reading
    preprocessing: Preprocessing


@dataclass(frozen=True)
class _Text:
    """What turns text into ids; `content` is the file that goes into the artifact."""

    encode: Encode
    tokens: Tokens
    content: str
    origin: dict[str, str]


def settle_inputs(folder: Path, plan: Recipe, teacher: LoadedModel) -> ModelInputs:
    """Look at the data, settle how they become the model's inputs, and write the tokenizer that does into `folder`.

    Raises:
        UsageError: an option cannot be read, or contradicts the model or the data.
        BadInput: the data are damaged, do not have the model's form, or the tokenizer does not fit the model.
    """
    reading, text = Reading(plan.label_column, plan.text_column), _settle_text(plan, teacher)
    if text is not None:
        reading = replace(reading, encode=text.encode)
        if teacher.input_shape == (None, None):
            teacher = replace(teacher, input_shape=(None, text.tokens.length))
    facts = _look(plan, reading)
    options = {name: getattr(plan, name) for name in _OPTIONS}
    how = resolve_preprocessing(
        {name: value for name, value in options.items() if value is not None},
        metadata=teacher.metadata,
        timm_config=architecture_metadata(plan.arch) if plan.arch else {},
        facts=facts,
        input_shape=None if plan.front else teacher.input_shape,
        input_dtype=teacher.input_dtype,
    )
    if facts is not None and facts.columns:
        how = how.model_copy(update={"columns": facts.columns})
    if text is not None:
        write_atomic(folder / text.tokens.file, text.content.encode())
        how = how.model_copy(update={"tokens": text.tokens, "origin": {**how.origin, **text.origin}})
    return ModelInputs(facts, reading, how)


def _look(plan: Recipe, reading: Reading) -> DataFacts | None:
    if plan.task is not None:
        find_task(plan.task)
    if plan.data is None:
        return None
    classes = Path(plan.classes) if plan.classes else None
    return peek(plan.data, classes_file=classes, task=plan.task, reading=reading)


def _settle_text(plan: Recipe, teacher: LoadedModel) -> _Text | None:
    """The tokenizer that the data's text, or without data the model, needs, held against the model; or None."""
    reading = Reading(plan.label_column, plan.text_column)
    table = read_tables(plan.data, reading) if plan.data and kind_of(plan.data) == "table" else None
    path = tokenizer_file(plan.tokenizer, Path(str(plan.model)))
    if table is None:
        _refuse(plan, ("label_column", "text_column"), "a table, and there is none")
    if plan.data and not (table and table.text):
        _refuse(plan, ("tokenizer", "max_length"), f"text, and {plan.data} holds none")
        return None
    if path is None:
        _refuse(plan, ("max_length",), "text, which needs a tokenizer; give --tokenizer")
        return None  # text without a tokenizer is refused where it is read
    tokenizer = read_tokenizer(path)
    pad = pad_of(tokenizer, path, teacher.metadata.get("pad"))
    texts = _spread(table.parts["train"]) if table else iter(())
    pair = table.text if table and len(table.text) == 2 else ()
    separator = separator_of(tokenizer, path, needed=has_token_types(teacher.module)) if pair else None
    length, why = settle_length(
        tokenizer,
        texts,
        pair=bool(pair),
        asked=plan.max_length,
        longest=teacher.metadata.get("max_length"),
        fixed=_fixed(teacher),
    )
    _check_vocabulary(tokenizer, path, teacher.module, length)
    encode = fix_length(tokenizer, length, pad, separator)
    content = tokenizer.to_str(pretty=True)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return _Text(
        encode=encode,
        tokens=Tokens(file=TOKENIZER, sha256=digest, length=length, pad=pad, pair=pair, separator=separator),
        content=content,
        origin={"tokens": str(path), "input_shape": why},
    )


def _refuse(plan: Recipe, options: tuple[str, ...], what: str) -> None:
    """Raise UsageError where one of these options is given, which are for `what`."""
    for name in options:
        if getattr(plan, name) not in (None, ()):
            raise UsageError(f"--{name.replace('_', '-')} is for {what}")


def _check_vocabulary(tokenizer: "Tokenizer", path: Path, module: nn.Module, length: int) -> None:
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
        return reason_of(error, 120)
    return None


def _fixed(teacher: LoadedModel) -> int | None:
    """The one length that the model file was made for, where it takes no other."""
    shape = teacher.input_shape
    return shape[1] if shape is not None and len(shape) == 2 else None


def _spread(part: Part) -> Iterator[Text]:
    for at in np.unique(np.linspace(0, part.count - 1, MEASURED).astype(int)).tolist():
        yield part.fetch(at)
