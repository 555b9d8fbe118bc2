"""The whole job on scikit-learn's handwritten digits, with a teacher trained here in seconds."""

import logging
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional

log = logging.getLogger(__name__)

TARGET = "raspberry-pi"
OPTIONS = {
    "epochs": 12,
    "batch_size": 64,
    "augment": "crop",
    "mean": "0.5",
    "std": "0.5",
    "budget": ("size=1MiB", "drop=2%"),
}
_EPOCHS = 12
_BATCH = 64
_UPSCALE = 4


def make_demo_inputs(folder: Path, *, seed: int = 0) -> tuple[Path, Path]:
    """Write `digits.npz` (1,797 images of 32x32 grey pixels) and `teacher.pt2`, a small ResNet trained on it.

    Returns:
        Paths of the model and of the data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model, data = folder / "teacher.pt2", folder / "digits.npz"
    if not (model.is_file() and data.is_file()):
        splits = _digits(seed)
        np.savez(folder / ".digits.npz", allow_pickle=False, **splits)
        (folder / ".digits.npz").replace(data)
        teacher = _train(splits["x_train"], splits["y_train"], seed)
        example = torch.zeros(2, 1, *splits["x_train"].shape[1:3])
        program = torch.export.export(teacher, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        torch.export.save(program, folder / ".teacher.pt2")
        (folder / ".teacher.pt2").replace(model)
        log.info("wrote %s and %s", model, data)
    return model, data


def _digits(seed: int) -> dict[str, np.ndarray]:
    digits = load_digits()
    images = np.clip(digits.images * 16, 0, 255).astype(np.uint8)
    images = images.repeat(_UPSCALE, axis=1).repeat(_UPSCALE, axis=2)[..., None]
    x_train, x_test, y_train, y_test = train_test_split(
        images, digits.target.astype(np.int64), test_size=0.2, stratify=digits.target, random_state=seed
    )
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def _teacher() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        _Block(32, 32, 1),
        _Block(32, 64, 2),
        _Block(64, 128, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def _train(images: np.ndarray, labels: np.ndarray, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = _teacher()
    inputs = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    targets = torch.from_numpy(labels)
    steps = _EPOCHS * (len(inputs) // _BATCH)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
    for _ in range(_EPOCHS):
        for batch in torch.randperm(len(inputs)).split(_BATCH)[: len(inputs) // _BATCH]:  # type: ignore[no-untyped-call]
            loss = functional.cross_entropy(model(inputs[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    log.info("trained a teacher on %d digits, %d epochs", len(inputs), _EPOCHS)
    return model.eval()
