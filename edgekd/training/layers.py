"""Which layers of a network stand for its stages, found by watching it run."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from edgekd.fronts.fronted import Fronts
from edgekd.training.taps import INPUT, first_tensor, layers_that_run

WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd, nn.RNNBase, nn.MultiheadAttention, nn.Embedding)
"""Layers that compute something new; the norm, activation or pooling after one of them belongs to it."""
Shape = tuple[int, ...]
Stride = tuple[int, int]


@dataclass(frozen=True)
class Layer:
    """A layer that ran, and the `shape` of its output without the batch."""

    name: str
    shape: Shape


@dataclass(frozen=True)
class Anatomy:
    """What runs in a network before its head, in the order in which it finishes.

    `head` is the input of the last linear layer, where that is one vector (batch, width). `levels` holds by layer the
    nesting depth, 0 at the top, of the outermost container whose result the layer gives. `taken` is the shape of one
    input, behind the front where there is one.
    """

    module: nn.Module
    layers: tuple[Layer, ...]
    head: Layer | None
    levels: dict[str, int]
    taken: Shape


@dataclass(frozen=True)
class _Event:
    """The shapes of what a layer took and gave, batch included."""

    taken: Shape
    given: Shape


def watch(module: nn.Module, example: torch.Tensor) -> Anatomy:
    """Run `module` in eval mode on three and on two of the inputs `example` (batch, ...), and say what ran.

    Left out are fronts, layers whose output does not begin with the batch, and everything from the last weighted layer
    on, which makes the network's own output.
    """
    three, two = _events(module, example[:3]), _events(module, example[:2])
    names = [name for name in three if name in two and (three[name].given[:1], two[name].given[:1]) == ((3,), (2,))]
    fronts = [name for name in names if isinstance(module.get_submodule(name), Fronts)]
    taken = three[fronts[-1]].given[1:] if fronts else tuple(example.shape[1:])
    names = [name for name in names if not any(f"{name}.".startswith(f"{front}.") for front in fronts)]
    weighted = [name for name in names if isinstance(module.get_submodule(name), WEIGHTED)]
    last = weighted[-1] if weighted else None
    before = names[: names.index(last)] if last else []
    head = None
    if last and isinstance(module.get_submodule(last), nn.Linear) and len(three[last].taken) == 2:
        head = Layer(last + INPUT, three[last].taken[1:])
    return Anatomy(module, tuple(Layer(name, three[name].given[1:]) for name in before), head, _levels(before), taken)


def stages_by_stride(anatomy: Anatomy) -> dict[Stride, Layer]:
    """Return the layer that stands for each output stride, from fine to coarse, as log2 (vertical, horizontal).

    Of the feature maps at a stride it is the last one on the outermost level: the
    result of a stage, not a part of the next block that has not come to its own stride yet. Empty where the network
    takes no images (channels, height, width), or does not end in feature maps.
    """
    image = anatomy.taken
    grids = [layer for layer in anatomy.layers if len(layer.shape) > 1 and math.prod(layer.shape[1:]) > 1]
    if len(image) != 3 or not grids or _stride(grids[-1].shape, image) is None:
        return {}
    found: dict[Stride, Layer] = {}
    for layer in grids:
        stride = _stride(layer.shape, image)
        if stride is None:
            continue
        if stride not in found or anatomy.levels[layer.name] <= anatomy.levels[found[stride].name]:
            found[stride] = layer
    return dict(sorted(found.items()))


def stages_by_depth(anatomy: Anatomy) -> tuple[Layer, ...]:
    """Return the layers that stand for successive steps: repeated blocks, or weighted layers with what follows them.

    Vectors (width,) and sequences only: grids of tokens (height, width, channels) look like feature maps and would be
    mistaken for them.
    """
    return tuple(layer for layer in _blocks(anatomy) or _weighted_steps(anatomy) if len(layer.shape) in (1, 2))


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Run `module` in eval mode without gradients; every submodule is left in the mode it came in."""
    modes = {each: each.training for each in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for each, mode in modes.items():
            each.training = mode


def _events(module: nn.Module, inputs: torch.Tensor) -> dict[str, _Event]:
    """The last run of every submodule that gives a tensor, in the order in which they finish."""
    events: dict[str, _Event] = {}

    def note(name: str, layer: nn.Module, taken: object, given: object) -> None:
        source, result = first_tensor(taken), first_tensor(given)
        events.pop(name, None)
        if result is not None:
            events[name] = _Event(() if source is None else tuple(source.shape), tuple(result.shape))

    names = layers_that_run(module)
    handles = [module.get_submodule(name).register_forward_hook(partial(note, name)) for name in names]
    try:
        with evaluating(module):
            module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return events


def _levels(names: list[str]) -> dict[str, int]:
    """By layer, the depth of the outermost prefix of its name under which it is the last to finish."""
    last = {prefix: name for name in names for prefix in _prefixes(name)}
    levels = {name: name.count(".") for name in names}
    for prefix, name in last.items():
        levels[name] = min(levels[name], prefix.count("."))
    return levels


def _blocks(anatomy: Anatomy) -> tuple[Layer, ...]:
    """The results of repeated containers ("blocks.0", "blocks.1", ...) that hold at least half of all parameters.

    Of several such families the one that holds most, and then the outermost.
    """
    last = {prefix: layer for layer in anatomy.layers for prefix in _prefixes(layer.name)}
    held = Counter(prefix for name, _ in anatomy.module.named_parameters() for prefix in _prefixes(name))
    families: dict[str, list[str]] = defaultdict(list)
    for prefix in last:
        if any(anatomy.module.get_submodule(prefix).children()):
            families[re.sub(r"\d+", "*", prefix)].append(prefix)
    worth = {family: sum(held[prefix] for prefix in prefixes) for family, prefixes in families.items()}
    half = len(list(anatomy.module.parameters())) / 2
    repeated = [family for family, prefixes in families.items() if len(prefixes) > 1 and worth[family] >= half]
    if not repeated:
        return ()
    best = max(repeated, key=lambda family: (worth[family], -family.count(".")))
    chosen = {last[prefix].name for prefix in families[best]}
    return tuple(layer for layer in anatomy.layers if layer.name in chosen)


def _weighted_steps(anatomy: Anatomy) -> tuple[Layer, ...]:
    steps: list[Layer] = []
    for layer in anatomy.layers:
        if isinstance(anatomy.module.get_submodule(layer.name), WEIGHTED):
            steps.append(layer)
        elif steps:
            steps[-1] = layer
    return tuple(steps)


def _prefixes(name: str) -> list[str]:
    """The name and those of all that contains it: "a", "a.b" and "a.b.c" for "a.b.c"."""
    parts = name.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def _stride(shape: Shape, image: Shape) -> Stride | None:
    """log2 of the output stride of feature maps (channels, height, width); None for what are no feature maps.

    A square image has square maps: (56, 56, 96) is a grid of tokens with the channels behind.
    """
    if len(shape) != 3 or (image[1] == image[2] and shape[1] != shape[2]):
        return None
    return round(math.log2(image[1] / shape[1])), round(math.log2(image[2] / shape[2]))
