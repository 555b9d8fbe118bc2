"""`pip install edgekd` is a light core: nothing that runs in a gate or on a device imports torch."""

import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "torch_pruning",
    "lightning_fabric",
    "sklearn",
    "PIL",
    "openvino",
    "nncf",
    "onnxslim",
)
LIGHT_COMMANDS = ("bench", "report", "predict", "gate", "devices", "inspect", "verify", "try", "doctor")


def imported_by(code: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has imported after running `code`."""
    script = f"import sys\n{code}\nsys.stdout.write('\\n' + ' '.join({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_imports_next_to_nothing() -> None:
    code = "from edgekd.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    assert imported_by(code).isdisjoint({*HEAVY, "pydantic", "numpy", "onnx", "onnxruntime", "yaml", "jinja2"})


@pytest.mark.parametrize("command", LIGHT_COMMANDS)
def test_light_commands_import_nothing_heavy(command: str) -> None:
    code = f"import edgekd.api, importlib; importlib.import_module('edgekd.cli.{command}')"
    assert imported_by(code).isdisjoint(HEAVY)


def test_every_public_name_exists_and_every_command_has_a_function() -> None:
    import edgekd
    from edgekd.cli.main import COMMANDS

    named_otherwise = {"demo": "compress", "try": "try_in_browser"}
    assert {named_otherwise.get(name, name) for name in COMMANDS} <= set(edgekd.__all__)
    assert all(getattr(edgekd, name) is not None for name in edgekd.__all__)
