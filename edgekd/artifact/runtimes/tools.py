"""ONNX Runtime's own tools, imported without what they do to a program that imports them."""

import importlib
import logging
from types import ModuleType

_CHATTY = "ort_format_model.utils"


def runtime_tool(name: str) -> ModuleType:
    """Return a module of `onnxruntime.tools`.

    Where torch is installed they import it, so this takes seconds. They give the root logger a handler unless it has
    one, and one of theirs the level DEBUG.
    """
    root, stand_in = logging.getLogger(), logging.NullHandler()
    root.addHandler(stand_in)
    try:
        return importlib.import_module(f"onnxruntime.tools.{name}")
    finally:
        root.removeHandler(stand_in)
        logging.getLogger(_CHATTY).setLevel(logging.WARNING)
