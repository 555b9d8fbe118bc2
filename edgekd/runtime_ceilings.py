"""What the installed ONNX Runtime loads at most: opset and IR version, tried with models of one node.

    python runtime_ceilings.py     prints {"max_opset", "max_ir"} as JSON

This file needs Python and onnxruntime alone, so that it can be copied to a board.
"""

from __future__ import annotations

import json
import os
import sys

GRAPH = (
    b':7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01"
)
"""y = Identity(x), both float32 (1,), as the field `graph` of a ModelProto."""
OPSETS = range(7, 64)
IR_VERSIONS = range(3, 32)


def model_bytes(opset: int, ir: int) -> bytes:
    """Return an ONNX model of one node that states these versions, each below 128."""
    return bytes([0x08, ir]) + GRAPH + bytes([0x42, 0x04, 0x0A, 0x00, 0x10, opset])


def ceilings() -> dict[str, int]:
    """Return the newest opset, and the newest IR version at the oldest opset, that load; 0 where none does."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)

    def loads(opset: int, ir: int) -> bool:
        try:
            onnxruntime.InferenceSession(model_bytes(opset, ir), providers=["CPUExecutionProvider"])
        except Exception:  # whatever the runtime raises, it does not load
            return False
        return True

    return {
        "max_opset": max((opset for opset in OPSETS if loads(opset, IR_VERSIONS[0])), default=0),
        "max_ir": max((ir for ir in IR_VERSIONS if loads(OPSETS[0], ir)), default=0),
    }


if __name__ == "__main__":
    json.dump(ceilings(), sys.stdout)
