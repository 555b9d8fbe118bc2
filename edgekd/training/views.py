"""What the model sees at a step: which samples, in which order, in which view, and as which tensor.

All of it is a function of the seeds, the number of samples and the step. That makes the step number the loader's whole
position, and gives the control, where all samples have labels, the very views that the student and its teacher saw.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgekd.data.split import Split
from edgekd.errors import UsageError
from edgekd.preprocessing import Preprocessing
from edgekd.training.augmentation import Augment, augmented, flipped
from edgekd.training.draws import Bits, combined
from edgekd.training.mixing import check_mixup, draw_pairs, is_image, mix
from edgekd.training.plan import Plan
from edgekd.training.processes import share_of

Mirrored = Callable[[npt.NDArray[Any], int], npt.NDArray[Any]]


@dataclass(frozen=True)
class View:
    """One batch before normalisation.

    inputs: as in `Split` (batch, ...).
    labels: int64 (batch,) or float32 (batch, ...), or None.
    labelled: bool (batch,), whose labels are known, or None where all are; those of the others mean nothing.
    keys: uint64 (batch,), the identity of each view: equal keys are equal inputs of one split, whatever the step, the
        batch or the run; a mixed view's covers both samples and their shares.
    partner_inputs, partner_labels: of the sample that each is mixed with, or None.
    lam: float32 (batch,), each sample's own share in the mixture, or None.
    """

    inputs: torch.Tensor
    labels: torch.Tensor | None
    keys: npt.NDArray[np.uint64]
    partner_inputs: torch.Tensor | None = None
    partner_labels: torch.Tensor | None = None
    lam: torch.Tensor | None = None
    labelled: torch.Tensor | None = None


class ViewReader:
    """Reads the views of a run in order, one ahead of the step that uses it.

    The order is `plan.seed`'s, an epoch after another without a gap, so every sample comes once an epoch even where the
    batch does not divide them, or holds more; one of several processes reads its share of each batch. The views are
    `plan.view_seed`'s, mixed if `plan.mixup` is above 0.

    Args:
        mirrored: as in `Task`: what becomes of labels where an image is flipped. Labels that say where something is in
            the image bear no other change of it.

    Raises UsageError where inputs that are not images are to be cropped, or token ids are to be mixed, or the labels do
    not bear what is asked for.
    """

    def __init__(self, split: Split, plan: Plan, *, augment: Augment, mirrored: Mirrored | None = None) -> None:
        if mirrored is not None and (augment not in ("none", "flip") or plan.mixup):
            asked = "--mixup" if plan.mixup else f"--augment {augment}"
            raise UsageError(
                f"{asked} would leave boxes where their objects no longer are; give --augment flip or none"
            )
        if augment != "none" and not is_image(split.inputs):
            raise UsageError(
                f"--augment {augment} is for images; these data are {split.inputs.dtype} arrays: give none"
            )
        check_mixup(split.inputs, plan.mixup)
        self._split, self._plan, self._augment, self._mirrored = split, plan, augment, mirrored
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="edgekd-views")
        self._ahead: tuple[int, Future[View]] | None = None
        self._order = lru_cache(maxsize=2)(lambda epoch: sample_order(len(split), seed=plan.seed, epoch=epoch))
        known = len(split.labelled_part())
        self._labelled = known if known < len(split) else None
        self._pairs = lru_cache(maxsize=2)(
            lambda epoch: draw_pairs(
                len(split), alpha=plan.mixup, seed=plan.view_seed, epoch=epoch, labelled=self._labelled
            )
        )

    def at(self, step: int) -> View:
        """Return the view of `step`; reading in order costs no waiting."""
        ready = self._ahead[1] if self._ahead and self._ahead[0] == step else self._pool.submit(self._read, step)
        view = ready.result()
        self._ahead = (step + 1, self._pool.submit(self._read, step + 1))
        return view

    def close(self) -> None:
        """Stop reading ahead."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _read(self, step: int) -> View:
        size = self._plan.batch_size
        epochs, places = np.divmod(share_of(np.arange(step * size, (step + 1) * size)), len(self._split))
        parts = [self._part(epoch, self._order(epoch)[places[epochs == epoch]]) for epoch in np.unique(epochs).tolist()]
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _part(self, epoch: int, indices: npt.NDArray[np.int64]) -> View:
        """The view of samples that belong to one epoch."""
        inputs, keys, draws = self._images(epoch, indices)
        labelled = None if self._labelled is None else torch.from_numpy(indices < self._labelled)
        if not self._plan.mixup:
            return View(inputs, self._labels(indices, draws), keys, labelled=labelled)
        pairs = self._pairs(epoch)
        partners, lam = pairs.partners[indices], pairs.lam[indices]
        partner_inputs, partner_keys, partner_draws = self._images(epoch, partners)
        shares = lam.view(np.uint32).astype(np.uint64)
        return View(
            inputs,
            self._labels(indices, draws),
            combined(keys, combined(partner_keys, shares)),
            partner_inputs,
            self._labels(partners, partner_draws),
            torch.from_numpy(lam),
            labelled,
        )

    def _images(self, epoch: int, indices: npt.NDArray[np.int64]) -> tuple[torch.Tensor, Bits, Bits]:
        """Images with the keys of their views, and the draws that made them."""
        images, draws = augmented(
            self._split.inputs, indices, augment=self._augment, seed=self._plan.view_seed, epoch=epoch
        )
        return torch.from_numpy(images), combined(indices.astype(np.uint64), draws), draws

    def _labels(self, indices: npt.NDArray[np.int64], draws: Bits) -> torch.Tensor | None:
        if self._split.labels is None:
            return None
        labels = self._split.labels[np.minimum(indices, len(self._split.labels) - 1)]
        if self._mirrored is not None and self._augment == "flip":
            turned = self._mirrored(labels, self._split.inputs.shape[2])
            labels = np.where(flipped(draws)[:, None, None], turned, labels)
        return torch.from_numpy(labels.astype(np.float32 if labels.dtype.kind == "f" else np.int64))


def sample_order(count: int, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return the permutation of sample indices int64 (count,) of one epoch."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def view_input(
    view: View,
    preprocessing: Preprocessing,
    *,
    device: torch.device | str = "cpu",
    layout: torch.memory_format = torch.contiguous_format,
) -> torch.Tensor:
    """Return the model inputs of a view on `device`, mixed where it has partners, float32 (batch, ...).

    Mixing comes before normalisation, which gives the same as after it (the shares add up to 1) at half the cost.
    """
    inputs = view.inputs.to(device)
    if view.partner_inputs is not None and view.lam is not None:
        inputs = mix(inputs, view.partner_inputs.to(device), view.lam.to(device))
    return as_input(inputs, preprocessing, layout)


def as_input(
    samples: torch.Tensor, preprocessing: Preprocessing, layout: torch.memory_format = torch.contiguous_format
) -> torch.Tensor:
    """Return model inputs float32 (batch, channels, height, width) in the memory layout asked for.

    The same arithmetic as `edgekd.preprocessing.normalise`, on the tensor's own device. Inputs that are no images keep
    their shape, and the plain layout; token ids stay int64.
    """
    if preprocessing.identity:
        inputs = samples if samples.dtype == torch.int64 else samples.float()
        return inputs.contiguous(memory_format=layout) if inputs.dim() == 4 else inputs
    values = (samples.flip(-1) if preprocessing.order == "bgr" else samples).float()
    unit = 255.0 if preprocessing.scale == "0..1" else 1.0
    mean, std = (torch.tensor(each, dtype=torch.float32) for each in (preprocessing.mean, preprocessing.std))
    scaled = values * (1.0 / (unit * std)).to(values.device) + (-mean / std).to(values.device)
    # A clone, since one-channel images count as contiguous in either layout and would keep the strides of the other.
    return scaled.permute(0, 3, 1, 2).clone(memory_format=layout)


def _joined(parts: list[View]) -> View:
    """One view out of several of the same kind, in order."""

    def cat(name: str) -> torch.Tensor | None:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else torch.cat(values)

    keys = np.concatenate([part.keys for part in parts])
    inputs = torch.cat([part.inputs for part in parts])
    return View(inputs, cat("labels"), keys, cat("partner_inputs"), cat("partner_labels"), cat("lam"), cat("labelled"))
