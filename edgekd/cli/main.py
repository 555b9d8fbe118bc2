"""The `edgekd` command. Each command is a module imported only when it is called, so that help answers at once."""

import errno
import importlib
import os
import re
import signal
import sys
from collections.abc import Sequence

import typer

from edgekd.errors import EdgekdError, did_you_mean, one_line

COMMANDS: dict[str, str] = {
    "compress": "Turn a trained model into a file that fits the device, with the proof beside it.",
    "distill": "Only as far as the trained student.",
    "export": "Only as far as the ONNX files.",
    "quantize": "Only as far as the candidates.",
    "bench": "Time and weigh an ONNX file, here or on a board.",
    "report": "Render a run's report again, compare two runs, or show the trend of many.",
    "predict": "Estimate latency and memory of an ONNX file on devices you do not have.",
    "gate": "Judge a run against budgets; for CI.",
    "devices": "List device profiles, or show one with its sources.",
    "inspect": "Say what a file is and whether it is safe to load.",
    "verify": "Check an artifact's hashes and parity vectors.",
    "pack": "Make one zip file of an artifact, the same bytes every time.",
    "try": "Try an artifact in the browser, on images that you drop in.",
    "doctor": "Say what this machine has and lacks.",
    "demo": "The whole job on an embedded data set; needs nothing else.",
}

_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|out of memory|fail\w* to allocate|bad_alloc", re.I
)
"""How torch, CUDA, ONNX Runtime and OpenVINO say it: as errors of many classes, in these words."""

_INTERRUPTED = 130
"""What a shell makes of SIGINT (128 + 2); typer turns an interrupt into this code too."""

HELP = """One command turns a trained PyTorch model into a file that provably fits the device.

\b
Examples:
  edgekd demo
  edgekd compress model.pt2 --target raspberry-pi --data images/
  edgekd compress weights.pt --arch timm:resnet18 --data images/ --time 30m
  edgekd predict model.onnx --target all
  edgekd gate runs/model-raspberry-pi-5-1a2b3c4d --budget latency=30ms

\b
Exit codes: 0 pass, 1 a budget is missed, 2 wrong usage, 3 bad input,
4 device lost, 5 inconclusive, 130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with DESIGN's exit codes; no traceback for anything a user can mend."""
    arguments = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    wanted = next((a for a in arguments if not a.startswith("-")), None)
    app = typer.Typer(help=HELP, add_completion=False, pretty_exceptions_enable=False)
    app.callback(invoke_without_command=True)(_root)
    if wanted is not None and wanted not in COMMANDS:
        _say(f"there is no command {wanted!r}{did_you_mean(wanted, COMMANDS)}")
        sys.exit(2)
    for name, help_line in COMMANDS.items():
        if name == wanted:
            module = importlib.import_module(f"edgekd.cli.{name}")
            app.command(name, help=module.__doc__)(module.command)
        else:
            app.command(name, help=help_line)(_not_loaded)
    # Terminated like Ctrl-C, so that a stage stops where it can be resumed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(_run(app, arguments))


def _run(app: typer.Typer, arguments: Sequence[str]) -> int:
    try:
        code = int(app(args=list(arguments), standalone_mode=False) or 0)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`edgekd ... | head`): not a failure of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except typer.Exit as stop:
        code = stop.exit_code
    except typer.TyperException as error:
        _say(f"{error.format_message()} See: edgekd {arguments[0]} --help")
        return 2
    except Exception as error:
        if isinstance(error, EdgekdError):
            _say(str(error))
            return error.exit_code
        if "-v" in arguments or "--verbose" in arguments:
            raise
        _say(_unexpected(error))
        return 3
    if code == _INTERRUPTED:
        _say("interrupted; the same command goes on from here")
    return code


def _unexpected(error: Exception) -> str:
    words = " ".join(str(error).split())[:300]
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _OUT_OF_MEMORY.search(words):
        return (
            "the memory ran out; give fewer images, a smaller --batch-size or --calibration-images, or a larger machine"
        )
    if isinstance(error, OSError) and error.filename is not None:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"the disk is full: {error.filename} could not be written; free some space and try again"
        return f"{error.filename} cannot be used: {error.strerror}; check the path and its permissions"
    return f"unexpected {type(error).__name__}: {words}; -v shows where; please report it with the command you typed"


def _say(text: str) -> None:
    sys.stderr.write(f"edgekd: {one_line(text)}\n")


def _root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from edgekd.version import __version__

        typer.echo(__version__)
        raise typer.Exit


def _not_loaded() -> None:
    """Stands for a command whose module is not needed for this call."""


if __name__ == "__main__":
    main()
