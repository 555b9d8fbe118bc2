"""Tokenizers: reading one, holding it against the model that it feeds, and settling it to one length of text.

They are Hugging Face's (`tokenizers`), from a tokenizer.json or, of the BERT family, a vocab.txt. What comes out is one
tokenizer.json that cuts and pads by itself, so that an app does what training did.
"""

import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgekd.data.reading import Encode, Text
from edgekd.errors import BadInput, UsageError, reason_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILES = ("tokenizer.json", "vocab.txt")
PADS = ("[PAD]", "<pad>", "<|pad|>", "<PAD>", "[pad]")
MAX_BYTES = 2**27
COVERED = 99.5
"""Per cent of the texts that are not cut: time grows with the length, so the few longest do not set it."""
MULTIPLE = 8
"""Lengths are rounded up to what a kernel's vectors hold."""
LONGEST_SETTLED = 512


def tokenizer_file(option: str | None, model: Path) -> Path | None:
    """The tokenizer that is named, a file or its folder, else the one in the model's folder, else None.

    Raises BadInput where the one that is named is not there.
    """
    root = Path(option) if option is not None else model
    if option is not None and not root.exists():
        raise BadInput(f"There is no --tokenizer {option}; check the path.")
    if root.is_file():
        return root if option is not None else None
    found = next((root / name for name in FILES if (root / name).is_file()), None)
    if found is None and option is not None:
        raise BadInput(f"--tokenizer {option} holds neither {' nor '.join(FILES)}; name the file")
    return found


def read_tokenizer(path: Path) -> "Tokenizer":
    """Read a tokenizer.json, or a vocab.txt as BERT splits text into word pieces; no code of it is run.

    Raises BadInput where the file is damaged, and UsageError where `tokenizers` is not installed.
    """
    try:
        import tokenizers
    except ImportError:
        raise UsageError("Text needs tokenizers, which is not installed; run: pip install 'edgekd[text]'") from None
    if path.stat().st_size > MAX_BYTES:
        raise BadInput(f"{path}: more than {MAX_BYTES >> 20} MiB, which no tokenizer has")
    try:
        if path.suffix == ".txt":
            return _word_pieces(path)
        return tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except BadInput:
        raise
    except Exception as error:  # the library raises plain Exception
        raise BadInput(f"{path}: not a tokenizer ({reason_of(error)}); copy or save it again") from error


def pad_of(tokenizer: "Tokenizer", path: Path, wanted: int | None) -> int:
    """The id that fills up short texts; `wanted` is what the model masks, where it says so.

    Raises BadInput where there is none, or the model masks another.
    """
    padding = tokenizer.padding
    named = (tokenizer.token_to_id(name) for name in PADS)
    own = padding["pad_id"] if padding else next((at for at in named if at is not None), None)
    if own is None:
        raise BadInput(f"{path}: it has no padding token ({', '.join(PADS)}), and texts differ in length; add one")
    if wanted is not None and own != wanted:
        raise BadInput(
            f"{path} pads with the id {own}, but the model masks {wanted}: this tokenizer does not fit; give the one "
            "that the model was trained with"
        )
    return int(own)


def settle_length(
    tokenizer: "Tokenizer",
    texts: Iterable[Text],
    *,
    pair: bool = False,
    asked: int | None = None,
    longest: int | None = None,
    fixed: int | None = None,
) -> tuple[int, str]:
    """How many tokens every text becomes, and why.

    Args:
        texts: of train; none leaves what tokenizer and model allow.
        pair: whether texts come in pairs, which have more special tokens.
        asked: the option's value.
        longest: what the model has positions for, where it says so.
        fixed: the one length that the model takes, where it takes no other.

    Raises:
        UsageError: the model does not take the length that was asked for, or no text fits into it.
    """
    special = tokenizer.num_special_tokens_to_add(pair)
    if asked is not None and asked <= special:
        raise UsageError(f"--max-length {asked} leaves no room beside the {special} special tokens; give more")
    if fixed is not None:
        if asked not in (None, fixed):
            raise UsageError(f"--max-length {asked} contradicts the model's input of {fixed} tokens; leave it out")
        return fixed, "the model's input"
    if asked is not None:
        if longest is not None and asked > longest:
            raise UsageError(f"--max-length {asked} is more than the {longest} tokens that the model has positions for")
        return asked, "option"
    truncation = tokenizer.truncation
    bounds = [bound for bound in (truncation and truncation["max_length"], longest, LONGEST_SETTLED) if bound]
    needed = [len(encoded.ids) for encoded in _uncut(tokenizer).encode_batch(list(texts))]
    if not needed:
        return min(*bounds, 128), "128, or less where tokenizer or model take less"
    covering = int(np.percentile(needed, COVERED, method="higher"))
    rounded = -(-covering // MULTIPLE) * MULTIPLE
    if rounded >= min(bounds):
        return min(bounds), "the longest that tokenizer and model take"
    return rounded, f"holds {COVERED:g} % of the training texts whole"


def fix_length(tokenizer: "Tokenizer", length: int, pad: int, separator: int | None = None) -> Encode:
    """Make the tokenizer cut and pad to `length`, and return it as a function of one text or pair.

    Where `separator` tells the two of a pair apart, the function raises BadInput if the first holds it itself.
    """
    padding = tokenizer.padding or {}
    token = padding.get("pad_token") or tokenizer.id_to_token(pad) or PADS[0]
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(direction=padding.get("direction", "right"), pad_id=pad, pad_token=token, length=length)

    def encode(text: Text) -> npt.NDArray[np.int64]:
        if isinstance(text, str):
            return np.array(tokenizer.encode(text).ids, np.int64)
        encoded = tokenizer.encode(*text)
        if separator is not None and encoded.ids.index(separator) + 1 != encoded.type_ids.index(1):
            name = tokenizer.id_to_token(separator)
            raise BadInput(f"{text[0][:60]!r} holds {name}, which tells where the first of two texts ends; take it out")
        return np.array(encoded.ids, np.int64)

    return encode


def separator_of(tokenizer: "Tokenizer", path: Path, *, needed: bool) -> int | None:
    """The id of the token that ends each text of a pair and so says of which one a token is: [SEP] of BERT's.

    None where the tokenizer numbers the tokens of both 0, as RoBERTa's does: a model that was trained with it has met
    no other token type. None, too, where ids do not tell the numbers, which are other than 0 up to the first such token
    and 1 up to the second. Raises BadInput where they are `needed` by the model, or the tokenizer fails.
    """
    try:
        encoded = _uncut(tokenizer).encode("a", "a")
    except Exception as error:  # the library raises plain Exception
        raise BadInput(
            f"{path}: cannot split a text ({reason_of(error)}); give a tokenizer with a token for unknown words"
        ) from error
    ids, types = list(encoded.ids), list(encoded.type_ids)
    if 1 not in types:
        return None
    first, last = types.index(1), len(ids) - 1
    ends = [at for at, token in enumerate(ids) if token == ids[-1] and encoded.special_tokens_mask[at]]
    if types == [0] * first + [1] * (last + 1 - first) and ends == [first - 1, last]:
        return ids[-1]
    if needed:
        raise BadInput(
            f"{path} does not end each text of a pair with a separator such as [SEP], but this model tells the two "
            "apart by token types; give the tokenizer that it was trained with"
        )
    return None


def _uncut(tokenizer: "Tokenizer") -> "Tokenizer":
    """A copy that neither cuts nor pads."""
    made = copy.deepcopy(tokenizer)
    made.no_truncation()
    made.no_padding()
    return made


def _word_pieces(path: Path) -> "Tokenizer":
    """BERT's tokenizer (Devlin et al. 2019), with the case as tokenizer_config.json beside it has it, else lowered."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = (
        path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    )  # splitlines() splits at more, such as U+2028
    vocabulary = {word: at for at, word in enumerate(words)}
    missing = [token for token in ("[UNK]", "[CLS]", "[SEP]") if token not in vocabulary]
    if missing:
        raise BadInput(f"{path}: no line {missing[0]}, which BERT's vocabularies have; give a tokenizer.json instead")
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=bool(_config(path.parent).get("do_lower_case", True)))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = (("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    made.post_processor = processors.BertProcessing(*ends)
    return made


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
