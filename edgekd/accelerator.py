"""Which accelerator torch sees, for those who must not import torch but may ask where it is there."""

import importlib


def cuda_name() -> str | None:
    """Name of the first CUDA device, or None."""
    torch = importlib.import_module("torch")
    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else None
