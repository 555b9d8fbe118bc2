"""Try an artifact in the browser: a page, on this computer alone, that runs it on images that you drop in.

\b
Examples:
  edgekd try runs/model-raspberry-pi-5-1a2b3c4d --install    fetches the runtime for browsers, once
  edgekd try runs/model-raspberry-pi-5-1a2b3c4d
"""

import os
import sys
import time
import webbrowser
from contextlib import suppress
from pathlib import Path

import typer

from edgekd.cli.tables import print_json


def command(
    artifact: Path = typer.Argument(help="Artifact or run folder."),
    port: int = typer.Option(0, min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one."),
    show: bool = typer.Option(True, "--open/--no-open", help="Open the page in the system's browser."),
    install: bool = typer.Option(False, "--install", help="Fetch ONNX Runtime for browsers by npm, if it is missing."),
    as_json: bool = typer.Option(False, "--json", help="Print exactly one JSON object on stdout."),
) -> None:
    """Print the page's address and serve it until Ctrl-C, which ends it well."""
    from edgekd.api import try_in_browser

    with try_in_browser(artifact, port=port, install=install) as address, suppress(KeyboardInterrupt):
        if as_json:
            print_json({"schema": 1, "address": address})
        else:
            typer.echo(f"{address}\nCtrl-C ends it.")
        sys.stdout.flush()
        if show and _has_screen():
            webbrowser.open(address)
        while True:
            time.sleep(3600)


def _has_screen() -> bool:
    """Without one, a browser in the terminal would be opened."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
