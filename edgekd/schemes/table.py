"""The schemes by name."""

from edgekd.schemes.fp32 import fp32
from edgekd.schemes.half import bf16, fp16
from edgekd.schemes.int8_corrected import int8_corrected
from edgekd.schemes.int8_dynamic import int8_dynamic
from edgekd.schemes.int8_fused import int8_fused
from edgekd.schemes.int8_mixed import int8_mixed
from edgekd.schemes.int8_nncf import int8_nncf
from edgekd.schemes.int8_products import int8_products
from edgekd.schemes.int8_qad import int8_qad
from edgekd.schemes.int8_searched import int8_searched
from edgekd.schemes.int8_static import int8_static
from edgekd.schemes.int8_weights import int8_weights
from edgekd.schemes.scheme import Scheme

SCHEMES: dict[str, Scheme] = {
    "fp32": fp32,
    "fp16": fp16,
    "bf16": bf16,
    "int8_dynamic": int8_dynamic,
    "int8_weights": int8_weights,
    "int8_static": int8_static,
    "int8_products": int8_products,
    "int8_fused": int8_fused,
    "int8_corrected": int8_corrected,
    "int8_mixed": int8_mixed,
    "int8_searched": int8_searched,
    "int8_qad": int8_qad,
    "int8_nncf": int8_nncf,
}
