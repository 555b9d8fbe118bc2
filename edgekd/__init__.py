"""edgekd: a trained PyTorch model in, a file that provably fits the device out.

    report = edgekd.compress("model.pt2", target="raspberry-pi", data="images/", budget=("drop=1%",))

Every command of the command line is a function here, with the same keywords.
"""

import importlib
import logging
import os
from typing import Any

from edgekd.version import __version__

# ONNX Runtime 1.29 and later report models to Microsoft, unless this is set before they are imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = [
    "__version__",
    "bench",
    "bench_table",
    "calibrate",
    "compress",
    "devices",
    "distill",
    "doctor",
    "export",
    "gate",
    "inspect",
    "pack",
    "predict",
    "quantize",
    "report",
    "report_between",
    "report_history",
    "try_in_browser",
    "verify",
]

_FOUND_IN = {
    **dict.fromkeys(("compress", "distill", "export", "quantize"), "edgekd.compression"),
    **dict.fromkeys(("report_between", "report_history"), "edgekd.past_runs"),
}

# A library is silent unless its user asks for its log.
logging.getLogger("edgekd").addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Import the public functions on first use, so that `edgekd --help` answers at once."""
    if name in __all__:
        return getattr(importlib.import_module(_FOUND_IN.get(name, "edgekd.api")), name)
    raise AttributeError(f"module 'edgekd' has no attribute {name!r}")
