"""edgekd: a trained PyTorch model in, a file that provably fits the device out.

    report = edgekd.compress("model.pt2", target="raspberry-pi", data="images/", budget=("drop=1%",))

Every command of the command line is a function here, with the same keywords.
"""

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
    "predict",
    "quantize",
    "report",
    "report_between",
    "report_history",
    "try_in_browser",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import the public functions on first use, so that `edgekd --help` answers at once."""
    if name in __all__:
        from edgekd import api

        return getattr(api, name)
    raise AttributeError(f"module 'edgekd' has no attribute {name!r}")
