"""Which number format a run computes in. Weights and optimizer state are fp32 always; bf16 is by autocast."""

from __future__ import annotations

import contextlib

import torch

from kosmos.config import Precision
from kosmos.errors import UsageError


def choose_device(wanted: str) -> torch.device:
    """`auto` is the GPU where there is one. Raises UsageError when `cuda` is asked for and there is none."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError("device: cuda, but PyTorch finds no GPU here; use device: auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """`auto` asks what the hardware multiplies natively, never a stopwatch, so that two runs choose alike."""
    if wanted == "fp32":
        return "fp32"
    if wanted == "bf16":
        return "bf16"
    return "bf16" if _native_bf16(device) else "fp32"


def _native_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not torch.backends.mkldnn.is_available():
        return False
    capabilities = torch.backends.cpu.get_cpu_capability()
    flags = _cpu_flags()
    return capabilities.startswith("AVX512") and bool(flags & {"amx_bf16", "avx512_bf16"})


def _cpu_flags() -> set[str]:
    """The processor's flags as Linux lists them; empty elsewhere."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("flags"):
                    return set(line.partition(":")[2].split())
    except OSError:
        return set()
    return set()


def autocast(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """The context a forward pass runs in."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
