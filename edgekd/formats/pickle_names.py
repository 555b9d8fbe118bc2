"""Which Python names a pickle would import, read from its opcodes without running any of it."""

import io
import pickletools

from edgekd.errors import BadInput

MAX_OPCODES = 20_000_000
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""First pickle in a file written by torch.save before zip archives (torch/serialization.py, MAGIC_NUMBER)."""

_REBUILDERS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state")
_DTYPES = (
    *("float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool"),
    *("half", "float", "double", "short", "int", "long", "complex64", "complex128"),
)
_STORAGES = (
    *("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"),
    *("Untyped", "Typed", "ComplexFloat", "ComplexDouble"),
)
TENSOR_NAMES = frozenset(
    {f"torch._utils.{name}" for name in _REBUILDERS}
    | {f"torch.{name}" for name in _DTYPES}
    | {f"torch.{name}Storage" for name in _STORAGES}
    | {"torch.storage.UntypedStorage", "torch.storage.TypedStorage", "torch.serialization._get_layout"}
    | {"torch.Size", "torch.device", "torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.Parameter"}
    | {"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "_codecs.encode"}
    | {"builtins.dict", "builtins.set", "__builtin__.set", "__builtin__.dict", "builtins.bytearray"}
)
"""What a file of tensors and plain containers names; anything else means that code of someone's choosing would run."""

UNRESOLVED = "(a name that is computed while loading)"


def names_in(stream: io.BytesIO) -> frozenset[str]:
    """Return every "module.name" that one pickle in `stream` would import; the stream is left behind its STOP.

    Raises:
        BadInput: the bytes are no complete pickle.
    """
    names: set[str] = set()
    memo: dict[int, str | None] = {}
    texts: list[str | None] = []
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > MAX_OPCODES:
                raise BadInput(f"the pickle has more than {MAX_OPCODES} opcodes")
            _step(opcode.name, argument, names=names, memo=memo, texts=texts)
    except BadInput:
        raise
    except Exception as error:  # genops fails with whatever the bytes led it to
        raise BadInput(f"no complete pickle ({error})") from error
    return frozenset(names)


def _step(
    name: str, argument: object, *, names: set[str], memo: dict[int, str | None], texts: list[str | None]
) -> None:
    """Follow strings as far as STACK_GLOBAL needs its two operands.

    `texts` are the last two values pushed. Every opcode but a plain string or memo read counts as "not a string", so
    operands shuffled with POP or DUP end as UNRESOLVED, never as a harmless name.
    """
    top = texts[-1] if texts else None
    if name in ("GLOBAL", "INST"):
        names.add(str(argument).replace(" ", ".", 1))
        texts.append(None)
    elif name == "STACK_GLOBAL":
        module, attribute = texts[-2:] if len(texts) >= 2 else (None, None)
        names.add(f"{module}.{attribute}" if module is not None and attribute is not None else UNRESOLVED)
        texts.append(None)
    elif name.startswith("EXT"):
        names.add(UNRESOLVED)
    elif name == "MEMOIZE":
        memo[len(memo)] = top
    elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
        memo[int(str(argument))] = top
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        texts.append(memo.get(int(str(argument))))
    elif name not in ("PROTO", "FRAME", "MARK", "STOP"):
        texts.append(argument if isinstance(argument, str) else None)
    del texts[:-2]


def is_legacy_torch(head: bytes) -> bool:
    """Tell whether a file begins with the magic number of torch.save's format from before zip archives."""
    magic = LEGACY_MAGIC.to_bytes(10, "little")
    return head.startswith(b"\x80") and magic in head[:16]
