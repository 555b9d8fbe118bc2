"""A Hugging Face directory of a text classifier: config.json and model.safetensors, as a module of token ids.

The architecture is built from the configuration by transformers, which is never given a name or a path to look up, and
the weights are put in by us: no connection is made, no code from the directory or elsewhere is run, and no pickle is
read but of plain weights.
"""

import inspect
import json
import logging
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from edgekd.errors import BadInput, UsageError, did_you_mean, reason_of
from edgekd.formats.identify import FileKind, identify, weights_in
from edgekd.formats.quiet import quiet_torch
from edgekd.formats.state_dict import read_checkpoint
from edgekd.formats.zip_members import shown

MAX_CONFIG = 2**22
MAX_SIZES = {
    **{"_layers": 1024, "_layer": 1024, "_heads": 1024, "_head": 1024},
    **{"dim": 2**17, "_embd": 2**17, "_labels": 2**17, "_size": 2**21, "_embeddings": 2**21},
}
"""Of what a configuration counts, by how its names end; more is no model for a device."""
MAX_NUMBER = 2**31
"""Of everything else in it that is a whole number."""
PADDED_POSITIONS = (
    "roberta",
    "xlm-roberta",
    "camembert",
    "xlm-roberta-xl",
    "longformer",
    "mpnet",
    "roberta-prelayernorm",
)
"""Their positions count from behind the padding token's id, so they have that many fewer."""
GENERIC_NAME = "LABEL_"
"""What transformers calls classes that nobody has named."""


class Encoder(nn.Module):
    """A text classifier with one input: token ids int64 (batch, length) to logits (batch, classes).

    What is masked is worked out inside, from where the padding token is, so that the exported graph has one input too;
    and with `separator`, the id of the token that ends each text of a pair, so is which tokens are of the second.
    """

    def __init__(self, classifier: nn.Module, pad: int, separator: int | None = None) -> None:
        super().__init__()
        self.classifier = classifier
        self.pad = pad
        self.separator = separator

    def forward(self, ids: Tensor) -> Tensor:
        """Return the logits of `ids`."""
        mask = (ids != self.pad).to(torch.int64)
        given = {"attention_mask": mask}
        if self.separator is not None:
            ends = (ids == self.separator).to(torch.int64)
            given["token_type_ids"] = (ends.cumsum(1) > ends).to(torch.int64) * mask
        logits: Tensor = self.classifier(input_ids=ids, **given).logits
        return logits


def has_token_types(module: nn.Module) -> TypeGuard[Encoder]:
    """Whether it is an `Encoder` that tells the two texts of a pair apart by more than the token between them."""
    if not isinstance(module, Encoder):
        return False
    types = getattr(module.classifier.config, "type_vocab_size", None) or 0
    return types > 1 and "token_type_ids" in inspect.signature(module.classifier.forward).parameters


def of_pairs(module: nn.Module, separator: int | None) -> nn.Module:
    """The module for pairs whose texts end with the id `separator`: an `Encoder` that tells them apart is told so."""
    if separator is None or not has_token_types(module):
        return module
    return Encoder(module.classifier, module.pad, separator).eval()


def read_encoder(kind: FileKind) -> tuple[Encoder, dict[str, Any]]:
    """Return the module, in evaluation mode on the CPU in float32, and what the directory states about it.

    That is "labels" (names in the order of the outputs), "pad" (the id that is masked) and "max_length" (tokens that it
    has positions for), as far as it says so.

    Raises:
        BadInput: the configuration is damaged, wants code from elsewhere, is of an unknown type, or does not fit the
            weights.
        UsageError: transformers is not installed.
    """
    root = Path(kind.path)
    config = read_config(root)
    weights = weights_in(root)
    assert weights is not None  # as `identify` found
    tensors = read_checkpoint(identify(weights)).tensors
    # Without memory, so that a configuration alone cannot ask for more than the weights have.
    with torch.device("meta"):
        _check_fit(root, _build(root, config), tensors)
    module = _build(root, config)
    module.load_state_dict(tensors, strict=False)  # not strict for tables that are computed, which some files hold
    pad = _count(config, "pad_token_id")
    if pad is None:
        raise BadInput(f"{root}/config.json has no pad_token_id, and texts differ in length; write which id is padding")
    stated = {"labels": _labels(config), "pad": pad, "max_length": _positions(config)}
    return Encoder(module, pad).eval(), {name: value for name, value in stated.items() if value is not None}


def read_config(root: Path) -> dict[str, Any]:
    """The directory's config.json, refused where it is no configuration of plain numbers that we can build from."""
    path = root / "config.json"
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise BadInput(f"{path} has more than {MAX_CONFIG >> 20} MiB; this is no configuration")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read as JSON ({error}); save the model again") from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise BadInput(f"{path} names no model_type; save the model with save_pretrained")
    if "auto_map" in config or "custom_pipelines" in config:
        raise BadInput(
            f"{path} asks for code from outside transformers (auto_map), which edgekd does not run; export the model "
            "with torch.export instead"
        )
    if "quantization_config" in config:
        raise BadInput(f"{path} describes quantized weights; give the model as it was before, in float")
    for name, value in config.items():
        limit = next((most for ending, most in MAX_SIZES.items() if name.endswith(ending)), MAX_NUMBER)
        if type(value) is int and abs(value) > limit:
            raise BadInput(f"{path}: {shown(name)} is {value}, more than the {limit} that edgekd reads")
    return config


def _build(root: Path, config: dict[str, Any]) -> nn.Module:
    """The architecture with random weights, in transformers' plain attention, which every exporter takes."""
    try:
        import transformers
    except ImportError:
        raise UsageError(
            f"{root} needs transformers, which is not installed; run: pip install 'edgekd[text]'"
        ) from None
    known = transformers.CONFIG_MAPPING.keys()
    if config["model_type"] not in known:
        raise BadInput(
            f"{root}/config.json: transformers {transformers.__version__} has no model_type "
            f"{shown(config['model_type'])}{_hint(config['model_type'], known)}"
        )
    log = logging.getLogger("transformers")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with quiet_torch(), torch.random.fork_rng(devices=[]):
            settled = transformers.AutoConfig.for_model(**config)
            build: Any = transformers.AutoModelForSequenceClassification.from_config
            module: nn.Module = build(settled, attn_implementation="eager", trust_remote_code=False)
    except Exception as error:  # transformers raises anything
        reason = reason_of(error)
        raise BadInput(f"{root}: transformers cannot build a text classifier of this ({reason})") from error
    finally:
        log.setLevel(level)
    return module.float()


def _hint(name: str, known: Any) -> str:
    hint = did_you_mean(name, known)
    return hint if "did you mean" in hint else ""


def _check_fit(root: Path, module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Every parameter must be there and fit, and nothing else. Raises BadInput."""
    wanted = module.state_dict()
    needed = {name for name, _ in module.named_parameters()}
    missing = sorted(needed - tensors.keys())
    if missing:
        head = "; fine-tune it on the classes first" if all("classif" in name for name in missing) else ""
        raise BadInput(f"{root} has no weights for {_first(missing)}{head or '; save the model again'}")
    shapes = [name for name in sorted(tensors.keys() & wanted) if tensors[name].shape != wanted[name].shape]
    if shapes:
        name = shapes[0]
        raise BadInput(
            f"{root}: {shown(name)} has shape {tuple(tensors[name].shape)}, but config.json makes it "
            f"{tuple(wanted[name].shape)}; give the configuration that belongs to these weights"
        )
    unknown = sorted(name for name in tensors.keys() - wanted if not name.endswith("position_ids"))
    if unknown:
        raise BadInput(
            f"{root} has weights that a text classifier of this type lacks: {_first(unknown)}; is it one of another "
            "task?"
        )


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{shown(names[0])}{more}"


def _labels(config: dict[str, Any]) -> tuple[str, ...] | None:
    """Names in the order of the outputs, where somebody has given any."""
    named = config.get("id2label")
    if not isinstance(named, dict) or not all(
        isinstance(name, str) and 0 < len(name) <= 500 for name in named.values()
    ):
        return None
    ordered = tuple(named.get(str(at)) for at in range(len(named)))
    complete = len(set(ordered)) == len(ordered) > 1 and None not in ordered
    generic = all(str(name).startswith(GENERIC_NAME) for name in ordered)
    return tuple(str(name).strip() for name in ordered) if complete and not generic else None


def _positions(config: dict[str, Any]) -> int | None:
    found, pad = _count(config, "max_position_embeddings"), _count(config, "pad_token_id")
    if found is None:
        return None
    return max(1, found - (pad or 0) - 1) if config["model_type"] in PADDED_POSITIONS else found


def _count(config: dict[str, Any], name: str) -> int | None:
    value = config.get(name)
    return value if type(value) is int and value >= 0 else None
