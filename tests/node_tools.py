"""Packages of Node.js that tests drive a browser and run samples with, fetched once by npm into the user's cache."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edgekd.resources import cache_folder
from edgekd.workspace import fingerprint

PACKAGES = {"axe-core": "4.14.1", "onnxruntime-node": "1.23.2", "puppeteer-core": "24.43.1", "sharp": "0.34.5"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_LIMIT_SECONDS = 600


def node_tools() -> Path:
    """Return `node_modules` with `PACKAGES`, for NODE_PATH or a link beside a script.

    Skips the test where node or npm is missing or nothing can be fetched; fails it in CI.
    """
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if missing:
        _cannot(f"no {' and no '.join(missing)} here")
    folder = cache_folder() / "tests" / f"node-{fingerprint(PACKAGES)[:12]}"
    if not folder.is_dir():
        _fetch(folder)
    return folder / "node_modules"


def find_browser() -> str:
    """Return the path of a Chromium. Skips the test where there is none; fails it in CI."""
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    return found or _cannot("no Chromium here")


def _fetch(folder: Path) -> None:
    """Install into a folder beside it, and rename: a second process that does the same finds it there."""
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    (partial / "package.json").write_text('{"private": true}\n')
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--save-exact"]
    try:
        done = subprocess.run(
            [*command, *(f"{name}@{version}" for name, version in PACKAGES.items())],
            cwd=partial,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_LIMIT_SECONDS,
        )
        if done.returncode:
            _cannot(f"npm install fails: {done.stderr.strip()[-300:]}")
        if not folder.is_dir():
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _cannot(reason: str) -> str:
    if os.environ.get("CI") == "true":
        pytest.fail(f"not tested, in CI: {reason}")
    pytest.skip(f"not tested: {reason}")
