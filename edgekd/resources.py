"""Data that ships with edgekd: device profiles and recipes, from the wheel or from a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_folder(name: str) -> Path:
    """The folder `device_profiles` or `pipelines`: inside the installed package, else at the top of the checkout."""
    packaged = _PACKAGE / "_data" / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name
