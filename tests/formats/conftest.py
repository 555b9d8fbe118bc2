"""Small nets and files that the format tests share."""

from pathlib import Path

import pytest
import torch
from torch import nn

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


class SmallNet(nn.Module):
    """Convolution, batch norm, in-place activation, dropout and a linear layer behind a reshape by batch size."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, num_classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hidden = self.stem(image)
        hidden += 1
        pooled = hidden.mean((2, 3)).view(image.shape[0], -1)
        logits: torch.Tensor = self.head(self.drop(pooled))
        return logits


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def small_net() -> SmallNet:
    net = SmallNet()
    net(torch.randn(16, 3, 8, 8))  # gives the running statistics a value of their own
    return net.eval()


@pytest.fixture
def small_pt2(small_net: SmallNet, tmp_path: Path) -> Path:
    path = tmp_path / "small.pt2"
    torch.export.save(torch.export.export(small_net, (torch.randn(1, 3, 8, 8),)), path)
    return path


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the shared models lie beside the checkout, and are not there")
    return SHARED
