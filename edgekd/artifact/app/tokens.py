"""From token ids to the model's input: cut and padded to its length as the tokenizer does it."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from edgekd.artifact.app.nodes import Nodes
from edgekd.data.tokens import read_tokenizer
from edgekd.preprocessing import Preprocessing, Tokens
from edgekd.record import Record

NAME = "ids"


class Ends(Record):
    """What a tokenizer does at the ends of a text."""

    closing: int = 0
    """Special tokens after the last word, which stay when words are cut off."""
    pads_left: bool = False


def ends_of(tokenizer: Path) -> Ends:
    """Read from a tokenizer's file how it ends a text. Raises what `read_tokenizer` raises."""
    made = read_tokenizer(tokenizer)
    pads_left = bool(made.padding) and made.padding["direction"] == "left"
    made.no_padding()
    special = made.encode("a").special_tokens_mask
    closing = special[::-1].index(0) if 0 in special else 0
    return Ends(closing=closing, pads_left=pads_left)


def ids_given() -> ValueInfoProto:
    """int64 (tokens,): of any length, with the tokenizer's special tokens."""
    return helper.make_tensor_value_info(NAME, TensorProto.INT64, ["tokens"])


def model_input_of_ids(nodes: Nodes, how: Preprocessing, text: Tokens, ends: Ends) -> str:
    """Write the model's input, int64 (1, length): of a longer text the beginning, and the tokens that close it."""
    count, most = nodes.add("Shape", NAME), np.array([text.length])
    longer, closing = nodes.add("Greater", count, most), np.array([ends.closing])
    stop = nodes.add("Where", longer, most - closing, count)
    again = nodes.add("Where", longer, nodes.add("Sub", count, closing), count)
    kept = [nodes.add("Slice", NAME, np.array([0]), stop), nodes.add("Slice", NAME, again, count)]
    told = nodes.add("Concat", *kept, axis=0)
    missing, none = nodes.add("Sub", most, nodes.add("Shape", told)), np.array([0])
    pads = [missing, none] if ends.pads_left else [none, missing]
    padded = nodes.add("Pad", told, nodes.add("Concat", *pads, axis=0), np.int64(text.pad))
    return nodes.add("Reshape", padded, np.array([1, *how.shape]))
