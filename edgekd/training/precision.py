"""Where and in which number format training runs, and how it is made repeatable."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from edgekd.errors import UsageError
from edgekd.training.plan import Plan, Precision

Accelerator = Literal["auto", "cpu", "cuda"]


def choose_accelerator(asked: Accelerator) -> Literal["cpu", "cuda"]:
    """Return where to train. Raises UsageError where a GPU is asked for and there is none."""
    available = torch.cuda.is_available()
    if asked == "cuda" and not available:
        raise UsageError("--accelerator cuda: PyTorch sees no CUDA device here; use --accelerator cpu")
    return "cuda" if available and asked != "cpu" else "cpu"


def choose_precision(module: nn.Module, accelerator: Literal["cpu", "cuda"]) -> Precision:
    """Return the faster of the two precisions for training `module`, by rule and not by a clock.

    A timed choice would differ from run to run, and with it every weight. On a CPU with bfloat16 instructions
    (AVX512-BF16 or AMX) ordinary convolutions train 1.7 to 1.9 times as fast in bfloat16 as in float32, channels last;
    depthwise ones train 1.7 times slower, so a net that has any stays in float32.
    """
    if accelerator == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    depthwise = any(_is_depthwise(part) for part in module.modules())
    return "bf16-mixed" if cpu_has_bfloat16() and not depthwise else "32-true"


def settle_precision(plan: Plan, student: nn.Module, accelerator: Literal["cpu", "cuda"]) -> Plan:
    """Return the plan with both precisions decided. The teacher only runs forward, where depthwise layers gain too."""
    forward = choose_precision(nn.Identity(), accelerator)
    chosen = {
        "precision": plan.precision or choose_precision(student, accelerator),
        "teacher_precision": plan.teacher_precision or forward,
    }
    return plan.model_copy(update=chosen)


def cpu_has_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 in hardware."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextmanager
def repeatable(seed: int, *, threads: int) -> Iterator[None]:
    """Seed torch, fix its thread count (sums are split among threads) and ask for deterministic kernels; then restore.

    numpy's global generator is not touched: nothing here draws from it.
    """
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Filling every new tensor finds reads of uninitialised memory; here it would only cost bandwidth.
        memory.fill_uninitialized_memory = False
        try:
            yield
        finally:
            memory.fill_uninitialized_memory = fill
            torch.use_deterministic_algorithms(before[1], warn_only=warn_only)
            torch.set_num_threads(before[0])


def _is_depthwise(part: nn.Module) -> bool:
    return isinstance(part, nn.modules.conv._ConvNd) and part.groups == part.in_channels > 1
