"""Teachers and students of the anchor tasks, each built by a function that `--arch` and `--student` name."""

import torch
import torch.nn.functional as F
from torch import nn

CLASSES_OF_CELLS = 3
WORDS, CLASSES_OF_QUESTIONS, PAST, AHEAD = 3512, 6, 336, 96


class Questions(nn.Module):
    """Word embeddings, convolutions of three widths, the maximum over words: Kim 2014."""

    def __init__(self, width: int, filters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, width)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, filters, k, padding=k // 2) for k in (3, 4, 5))
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(3 * filters, CLASSES_OF_QUESTIONS)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        words = self.embedding(ids).transpose(1, 2)
        found = torch.cat([convolution(words).relu().amax(2) for convolution in self.convolutions], 1)
        return self.head(self.drop(found))


class SpokenDigits(nn.Module):
    """Three convolutions over time, log-mel bands as channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = ((40, width, 1), (width, width, 2), (width, 2 * width, 2))
        blocks = [
            nn.Sequential(nn.Conv1d(a, b, 5, stride, 2, bias=False), nn.BatchNorm1d(b), nn.ReLU())
            for a, b, stride in widths
        ]
        self.body = nn.Sequential(*blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(2 * width, 10))

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        return self.body(mels)


class Forecast(nn.Module):
    """Every series by itself, as its difference from the last value: hidden layers, and a straight line beside them."""

    def __init__(self, *, members: int, hidden: int, line: bool) -> None:
        super().__init__()
        drop = 0.3 if line else 0.0
        self.members = nn.ModuleList(
            nn.Sequential(nn.Linear(PAST, hidden), nn.Dropout(drop), nn.ReLU(), nn.Linear(hidden, AHEAD))
            for _ in range(members)
        )
        self.line = nn.Linear(PAST, AHEAD) if line else None

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        last = past[:, -1:, :]
        series = (past - last).transpose(1, 2)
        ahead = torch.stack([member(series) for member in self.members]).mean(0)
        if self.line is not None:
            ahead = (ahead + self.line(series)) / 2
        return ahead.transpose(1, 2) + last


class Residual(nn.Module):
    """A block with the option-A shortcut of He et al. 2016, section 4.2: subsample and pad with zeros."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=after // before, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.more = after - before

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        out = self.bn2(self.conv2(self.bn1(self.conv1(maps)).relu()))
        if self.more:
            maps = F.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, self.more // 2, self.more // 2))
        return (out + maps).relu()


class ResNet(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        count = (depth - 2) // 6
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        for number, (before, after) in enumerate(((16, 16), (16, 32), (32, 64)), start=1):
            blocks = [Residual(before, after), *(Residual(after, after) for _ in range(count - 1))]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(images)).relu())))
        return self.linear(maps.mean((2, 3)))


class Cells(nn.Module):
    """Boxes without anchors, one level of stride 8: class logits, and the distances of the four sides from the centre.

    Images (batch, 3, 160, 208) to logits (batch, 520, 3) and boxes (batch, 520, 4), decoded to pixels in float32.
    """

    STRIDE = 8

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()

        def convolution(before: int, after: int, stride: int = 1, dilation: int = 1) -> list[nn.Module]:
            kernel = nn.Conv2d(before, after, 3, stride, dilation, dilation, bias=False)
            return [kernel, nn.BatchNorm2d(after), nn.ReLU()]

        wide = 4 * width
        self.body = nn.Sequential(
            *convolution(3, width, 2),
            *convolution(width, 2 * width, 2),
            *convolution(2 * width, 2 * width),
            *convolution(2 * width, wide, 2),
            *(layer for at in range(blocks) for layer in convolution(wide, wide, dilation=1 + at % 2)),
        )
        self.classes = nn.Sequential(*convolution(wide, wide), nn.Conv2d(wide, CLASSES_OF_CELLS, 1))
        self.sides = nn.Sequential(*convolution(wide, wide), nn.Conv2d(wide, 4, 1))
        nn.init.constant_(self.classes[-1].bias, -4.6)  # a confidence of 1 %: nearly every position is background
        nn.init.constant_(self.sides[-1].bias, 2.0)  # boxes of 34 pixels, which most are

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.body(images)
        logits, sides = self.classes(maps), F.softplus(self.sides(maps).float()) * self.STRIDE
        rows, columns = (torch.arange(size, device=images.device) for size in maps.shape[2:])
        y, x = (self.STRIDE * (each + 0.5) for each in torch.meshgrid(rows, columns, indexing="ij"))
        left, top, right, bottom = sides.unbind(1)
        boxes = torch.stack([x - left, y - top, x + right, y + bottom], 1)
        return logits.flatten(2).transpose(1, 2), boxes.flatten(2).transpose(1, 2)


def trec_teacher() -> nn.Module:
    return Questions(width=128, filters=128)


def trec_student() -> nn.Module:
    return Questions(width=16, filters=8)


def spoken_digits_teacher() -> nn.Module:
    return SpokenDigits(width=64)


def spoken_digits_student() -> nn.Module:
    return SpokenDigits(width=3)


def spoken_digits_wider() -> nn.Module:
    return SpokenDigits(width=8)


def etth1_teacher() -> nn.Module:
    return Forecast(members=4, hidden=128, line=True)


def etth1_student() -> nn.Module:
    return Forecast(members=1, hidden=8, line=False)


def cifar10_teacher() -> nn.Module:
    return ResNet(56)


def cifar10_student() -> nn.Module:
    return ResNet(20)


def bccd_teacher() -> nn.Module:
    return Cells(width=16, blocks=4)


def bccd_student() -> nn.Module:
    return Cells(width=4, blocks=2)
