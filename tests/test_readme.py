"""The README keeps its promises: the tree is up to date, and every command and recipe is in it."""

import runpy
from pathlib import Path

import pytest

from edgekd.cli.main import COMMANDS
from edgekd.recipe_file import recipe_names

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tree_is_up_to_date() -> None:
    """When this fails after a change on purpose: `make tree`."""
    assert runpy.run_path(str(ROOT / "docs" / "make_tree.py"))["with_tree"](README) == README


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c not in ("distill", "export", "quantize", "report", "inspect")]
)
def test_every_command_is_shown(command: str) -> None:
    assert f"edgekd {command}" in README


def test_every_recipe_is_listed() -> None:
    assert all(f"`{name}`" in README for name in recipe_names())


def test_no_placeholder_is_left() -> None:
    assert "@" not in README.replace("pi@", "")
