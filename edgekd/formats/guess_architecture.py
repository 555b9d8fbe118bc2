"""Which common architecture a state dict most likely belongs to, told by its parameter names and shapes."""

import logging
from collections.abc import Mapping

import torch

from edgekd.errors import EdgekdError
from edgekd.formats.architecture import build_architecture
from edgekd.formats.state_dict import fitting_names

logger = logging.getLogger(__name__)

COMMON = (
    *("torchvision:resnet18", "torchvision:resnet34", "torchvision:resnet50", "torchvision:resnet101"),
    *("torchvision:mobilenet_v2", "torchvision:mobilenet_v3_small", "torchvision:mobilenet_v3_large"),
    *("torchvision:shufflenet_v2_x1_0", "torchvision:efficientnet_b0", "torchvision:squeezenet1_1"),
    *("torchvision:mnasnet1_0", "torchvision:densenet121", "torchvision:vgg16", "torchvision:vgg16_bn"),
    *("torchvision:regnet_y_400mf", "torchvision:convnext_tiny", "torchvision:vit_b_16"),
    *("timm:mobilenetv2_100", "timm:mobilenetv3_small_100", "timm:mobilenetv3_large_100", "timm:efficientnet_b0"),
    *("timm:efficientnet_lite0", "timm:vit_tiny_patch16_224", "timm:deit_small_patch16_224", "timm:ghostnet_100"),
)
ANY_FILE = "file.py:build"
ENOUGH = 0.97
"""Share of parameter names and shapes that must agree; a classifier of other width misses two."""


def guess_architecture(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the `--arch` whose parameters agree best with `tensors`, or "file.py:build" where none does."""
    best, agreement = ANY_FILE, ENOUGH
    for spec in COMMON:
        share = _agreement(tensors, spec)
        if share > agreement:
            best, agreement = spec, share
    return best


def _agreement(tensors: Mapping[str, torch.Tensor], spec: str) -> float:
    """Jaccard similarity of (name, all dimensions but the classifier's first) between a file and an architecture."""
    try:
        with torch.device("meta"):
            module = build_architecture(spec)
    except (EdgekdError, RuntimeError, NotImplementedError) as error:
        logger.debug("%s cannot be built without memory: %s", spec, error)
        return 0.0
    given = _shapes(fitting_names(tensors, module))
    wanted = _shapes(module.state_dict())
    return len(given & wanted) / max(1, len(given | wanted))


def _shapes(tensors: Mapping[str, torch.Tensor]) -> set[tuple[str, tuple[int, ...]]]:
    """Names with shapes; of the last two tensors, the classifier's, only what does not depend on the classes."""
    named = [(key, tuple(value.shape)) for key, value in tensors.items() if not key.endswith("num_batches_tracked")]
    return {*named[:-2], *((key, shape[1:]) for key, shape in named[-2:])}
