"""Inputs made from the teacher alone, for where there is no data: what it takes for each of its classes.

Random inputs are changed until the teacher sees its classes in them and until their statistics at every batch norm are
those that it kept of its training data: DeepInversion, Yin et al. 2020, "Dreaming to Distill", sections 3.1 and 3.2.
What is changed are not pixels but Fourier coefficients over their frequency, as natural images have them (Olah,
Mordvintsev and Schubert 2017, "Feature Visualization"). That takes the place of the paper's total variation and l2
penalties and of most of its steps: after 40, a student of such images was 13 points better than one of pixels.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgekd.errors import BadInput, UsageError
from edgekd.formats.outputs import outputs_of
from edgekd.preprocessing import Preprocessing
from edgekd.progress import Listener, Tick, silent
from edgekd.training.batch_statistics import distance_to_kept
from edgekd.training.evaluate import autocast
from edgekd.training.plan import Precision
from edgekd.training.precision import choose_precision, repeatable
from edgekd.training.views import as_input
from edgekd.training.weights import set_layout

LEARNING_RATE = 0.2
WARMUP_STEPS = 5
STATISTICS_WEIGHT = 2.0
"""Of each batch norm's distance against the classes' cross-entropy. A sum over layers, as in the paper: the deeper a
teacher, the easier its classes are met by what only looks like noise."""
SAMPLED_SHARE = 0.5
"""Share of the batch norms that a step looks at, drawn anew: statistics of all would cost as much as the network."""
SHIFT_SHARE = 8
"""The shift of a step is at most an eighth of the side."""
COLOUR_CORRELATION = 0.9
"""Between the colours of a natural image, which is about what holds for red, green and blue of CIFAR and ImageNet."""
START_SPREAD = 0.5
"""Of the coefficients: before optimisation images are of low contrast, and nothing is saturated."""


@dataclass(frozen=True)
class Synthesised:
    """Inputs as in `Split`: uint8 (n, height, width, channels), or float32 (n, channels, height, width) where the data
    are model inputs; and the class, int64 (n,), that each was aimed at, which is the teacher's word and no label."""

    inputs: npt.NDArray[Any]
    classes: npt.NDArray[np.int64]


def synthesise(teacher: nn.Module, **options: Any) -> Synthesised:
    """Return all batches of `synthesise_batches`, which takes the same options, in one."""
    batches = list(synthesise_batches(teacher, **options))
    inputs, classes = (np.concatenate([getattr(each, name) for each in batches]) for name in ("inputs", "classes"))
    return Synthesised(inputs, classes)


def synthesise_batches(
    teacher: nn.Module,
    *,
    preprocessing: Preprocessing,
    outputs: int,
    count: int,
    seed: int = 0,
    steps: int = 40,
    batch_size: int = 128,
    flips: bool = True,
    precision: Precision | None = None,
    first: int = 0,
    progress: Listener = silent,
) -> Iterator[Synthesised]:
    """Yield `count` inputs batch by batch, each a function of the options and its number alone, on the same machine.

    So a caller that stores every batch goes on after an interruption with `first`, the number of batches it has. The
    classes are as even as `count` allows. The teacher is copied and stays as it is; batches are made on its device.

    Args:
        outputs: the teacher's classes.
        steps: of optimisation per batch.
        batch_size: at most; the statistics are of a batch, so small ones meet them badly.
        flips: images must keep their class when mirrored, as they must when shifted.
        precision: None for the faster of the two, by rule.

    Raises:
        UsageError: the teacher keeps no batch-norm statistics, and the classes alone would give noise that fools it; or
            its inputs are indices.
        BadInput: the teacher is no classifier of such inputs.
    """
    if preprocessing.dtype != "float32":
        raise UsageError("inputs that are indices, such as tokens, cannot be synthesised by gradients; give --data")
    if not _keeping_norms(teacher):
        raise UsageError(
            "the teacher has no batch normalisation to read (an ONNX file never has), from whose statistics inputs "
            "could be synthesised; give images, labelled or not, with --data"
        )
    frozen = copy.deepcopy(teacher).eval().requires_grad_(False)
    set_layout(frozen, torch.channels_last)
    device = next(frozen.buffers()).device
    chosen = precision or choose_precision(frozen, "cuda" if device.type == "cuda" else "cpu")
    how, watched = _How(preprocessing, flips, steps, chosen), _Watched(frozen)
    _check_outputs(watched, how, outputs, device)
    classes = _class_plan(count, outputs, seed)
    parts = np.array_split(classes, max(1, math.ceil(count / batch_size)))
    started = time.monotonic()
    for number, part in enumerate(parts[first:], first):

        def tell(step: int, detail: str, number: int = number) -> None:
            done, total = number * steps + step, len(parts) * steps
            pace = (time.monotonic() - started) / (done - first * steps)
            progress(Tick("synthesis", done, total, detail, seconds_left=pace * (total - done)))

        with repeatable(seed, threads=torch.get_num_threads()):
            inputs = _batch(
                watched, torch.from_numpy(part).to(device), how, np.random.default_rng([seed, number]), tell
            )
        yield Synthesised(inputs, part)


@dataclass(frozen=True)
class _How:
    """What is the same for every batch."""

    preprocessing: Preprocessing
    flips: bool
    steps: int
    precision: Precision


class _Watched:
    """A network, and the inputs of its batch norms when it last ran."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._seen: list[tuple[_BatchNorm, torch.Tensor]] = []
        for norm in _keeping_norms(network):
            norm.register_forward_pre_hook(lambda norm, inputs: self._seen.append((norm, inputs[0])))

    def __call__(self, inputs: torch.Tensor, precision: Precision) -> torch.Tensor:
        """Return the first output, float32."""
        self._seen.clear()
        with autocast(inputs.device, precision):
            return outputs_of(self.network(inputs), len(inputs))[0].float()

    def distance(self, rng: np.random.Generator) -> torch.Tensor:
        """Return how far the statistics are from those kept, over all batch norms, as a sample of them has it."""
        count = max(1, round(SAMPLED_SHARE * len(self._seen)))
        sample = [self._seen[k] for k in rng.permutation(len(self._seen))[:count]]
        return torch.stack([distance_to_kept(norm, inputs) for norm, inputs in sample]).mean() * len(self._seen)


def _keeping_norms(network: nn.Module) -> list[_BatchNorm]:
    return [part for part in network.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]


def _batch(
    watched: _Watched,
    classes: torch.Tensor,
    how: _How,
    rng: np.random.Generator,
    tell: Callable[[int, str], None],
) -> npt.NDArray[Any]:
    """Inputs for these classes, (batch, ...) as `Synthesised` has them."""
    start = rng.standard_normal((len(classes), *_spectrum(how.preprocessing.shape).shape, 2), np.float32)
    coefficients = torch.from_numpy(START_SPREAD * start).to(classes.device).requires_grad_()
    optimizer = torch.optim.Adam([coefficients], betas=(0.9, 0.99))
    for step in range(how.steps):
        for group in optimizer.param_groups:
            warmup = min(1.0, (step + 1) / WARMUP_STEPS)
            group["lr"] = LEARNING_RATE * warmup * 0.5 * (1 + math.cos(math.pi * step / how.steps))
        inputs = as_input(_painted(coefficients, how.preprocessing), how.preprocessing, torch.channels_last)
        logits = watched(inputs if how.preprocessing.identity else _jittered(inputs, how.flips, rng), how.precision)
        class_loss, distance = F.cross_entropy(logits, classes), watched.distance(rng)
        loss = class_loss + STATISTICS_WEIGHT * distance
        (coefficients.grad,) = torch.autograd.grad(loss, coefficients)
        optimizer.step()
        tell(step + 1, f"classes {class_loss.item():.3f}  statistics {distance.item():.2f}")
    painted = _painted(coefficients.detach(), how.preprocessing).cpu()
    return painted.numpy() if how.preprocessing.identity else painted.round().to(torch.uint8).numpy()


def _painted(coefficients: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Coefficients (batch, *spectrum, 2) as pixels 0..255 (batch, height, width, channels), float32; where the data are
    model inputs, as those (batch, ...), of a spread about 1."""
    sides = preprocessing.shape[1:]
    spectrum = torch.from_numpy(_spectrum(preprocessing.shape)).to(coefficients.device)
    series = torch.view_as_complex(coefficients) * spectrum
    dims = tuple(range(2, 2 + len(sides)))
    values = torch.fft.irfftn(series, s=sides, dim=dims, norm="ortho") if sides else series.real
    return values if preprocessing.identity else 255 * _coloured(values).sigmoid().permute(0, 2, 3, 1)


def _coloured(planes: torch.Tensor) -> torch.Tensor:
    """Independent planes (batch, channels, height, width) as ones of the same spread that correlate."""
    channels, own = planes.shape[1], math.sqrt(1 - COLOUR_CORRELATION)
    shared = (math.sqrt(1 - COLOUR_CORRELATION + channels * COLOUR_CORRELATION) - own) / channels
    return own * planes + shared * planes.sum(dim=1, keepdim=True)


def _spectrum(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """One over the frequency of each coefficient of a real input (channels, *sides), of root mean square 1."""
    sides = shape[1:]
    if not sides:
        return np.ones(shape, np.float32)
    axes = [np.fft.fftfreq(side) for side in sides[:-1]] + [np.fft.rfftfreq(sides[-1])]
    frequency = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    amplitude = 1 / np.maximum(frequency, 1 / max(sides))
    scaled = amplitude / np.sqrt(np.mean(amplitude**2))
    return np.broadcast_to(scaled, (shape[0], *scaled.shape)).astype(np.float32)


def _jittered(images: torch.Tensor, flips: bool, rng: np.random.Generator) -> torch.Tensor:
    """The whole batch shifted around its edges, which meet in a Fourier series, and flipped."""
    reach = [side // SHIFT_SHARE for side in images.shape[2:]]
    shifted = images.roll([int(rng.integers(-most, most + 1)) for most in reach], dims=(2, 3))
    return shifted.flip(3) if flips and rng.random() < 0.5 else shifted


def _class_plan(count: int, outputs: int, seed: int) -> npt.NDArray[np.int64]:
    """Classes int64 (count,), each as often as any other give or take one, and every stretch of `outputs` holds all."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(outputs) for _ in range(math.ceil(count / outputs))])[:count]


def _check_outputs(watched: _Watched, how: _How, outputs: int, device: torch.device) -> None:
    with torch.no_grad():
        shape = tuple(watched(torch.zeros(2, *how.preprocessing.shape, device=device), how.precision).shape)
    if shape != (2, outputs):
        raise BadInput(
            f"the teacher returns {shape} for 2 inputs where logits (2, {outputs}) are expected; inputs can be "
            "synthesised from a classifier only"
        )
