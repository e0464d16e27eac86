"""What devices can do: peaks of common accelerators from their data sheets, and a measured peak for all others."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kosmos.config import Precision
from kosmos.errors import UsageError, nearest

if TYPE_CHECKING:
    import torch

_TERA = 1e12


@dataclass(frozen=True)
class Hardware:
    """One device: dense peaks (no sparsity) in operations a second, memory in bytes. 0: not known.

    `bf16` is by tensor cores with fp32 sums, `fp32` plain (torch leaves TF32 off).
    """

    name: str
    bf16: float
    fp32: float
    memory: float

    def peak(self, precision: Precision) -> float:
        return self.bf16 if precision == "bf16" else self.fp32


def _device(name: str, bf16: float, fp32: float, gigabytes: float) -> Hardware:
    return Hardware(name, bf16 * _TERA, fp32 * _TERA, gigabytes * 1e9)


# Name -> how the driver names it, and the data sheet. The first that fits counts.
_TABLE: dict[str, tuple[str, Hardware]] = {
    "gh200": (r"GH200", _device("GH200", 989.4, 66.9, 96)),
    "b200": (r"B200", _device("B200", 2250, 80, 180)),
    "h200": (r"H200", _device("H200", 989.4, 66.9, 141)),
    "h100-pcie": (r"H100 PCIe", _device("H100 PCIe", 756, 51.2, 80)),
    "h100-nvl": (r"H100 NVL", _device("H100 NVL", 835, 60, 94)),
    "h100": (r"H100", _device("H100 SXM", 989.4, 66.9, 80)),
    "h800": (r"H800", _device("H800", 989.4, 66.9, 80)),
    "h20": (r"H20\b", _device("H20", 148, 44, 96)),
    "a100-40gb": (r"A100.*40GB", _device("A100 40 GB", 311.9, 19.5, 40)),
    "a100": (r"A100", _device("A100 80 GB", 311.9, 19.5, 80)),
    "a800": (r"A800", _device("A800", 311.9, 19.5, 80)),
    "l40s": (r"L40S", _device("L40S", 362, 91.6, 48)),
    "l40": (r"L40\b", _device("L40", 181, 90.5, 48)),
    "l4": (r"\bL4\b", _device("L4", 121, 30.3, 24)),
    "a40": (r"A40\b", _device("A40", 149.7, 37.4, 48)),
    "a10": (r"A10\b", _device("A10", 125, 31.2, 24)),
    "a6000": (r"RTX A6000", _device("RTX A6000", 154.8, 38.7, 48)),
    "rtx-6000-ada": (r"RTX 6000 Ada", _device("RTX 6000 Ada", 364, 91.1, 48)),
    "rtx-5090": (r"RTX 5090", _device("RTX 5090", 209.5, 104.8, 32)),
    "rtx-4090": (r"RTX 4090", _device("RTX 4090", 165.2, 82.6, 24)),
    "rtx-3090": (r"RTX 3090", _device("RTX 3090", 71, 35.6, 24)),
    "v100": (r"V100", _device("V100", 0, 15.7, 32)),
    "t4": (r"\bT4\b", _device("T4", 0, 8.1, 16)),
    "mi325x": (r"MI325X", _device("MI325X", 1307.4, 163.4, 256)),
    "mi300x": (r"MI300X", _device("MI300X", 1307.4, 163.4, 192)),
    "mi250x": (r"MI250X", _device("MI250X, one die", 191.5, 23.9, 64)),
}


def hardware_names() -> list[str]:
    """The names of the table."""
    return list(_TABLE)


def find_hardware(name: str) -> Hardware:
    """A device by its name (`h100`), or by its peak in TFLOP/s (`450`). Raises UsageError."""
    key = name.lower().replace("_", "-")
    if key in _TABLE:
        return _TABLE[key][1]
    if f"rtx-{key}" in _TABLE:  # 4090 is a card, and no card has so many TFLOP/s
        return _TABLE[f"rtx-{key}"][1]
    if re.fullmatch(r"\d+(\.\d+)?", key) and float(key) > 0:
        return Hardware(f"device of {name} TFLOP/s", float(key) * _TERA, float(key) * _TERA, 0.0)
    known = hardware_names()
    raise UsageError(f"no device '{name}'{nearest(key, known)}; there are: {', '.join(known)}, or a number of TFLOP/s")


def recognize(driver_name: str) -> Hardware | None:
    """The device that a driver calls so, such as "NVIDIA H100 80GB HBM3"; None when it is not in the table."""
    return next((hardware for pattern, hardware in _TABLE.values() if re.search(pattern, driver_name)), None)


def this_machine() -> Hardware:
    """The GPU here, or without one the CPU, by measured peaks."""
    import torch

    if torch.cuda.is_available():
        name, device = torch.cuda.get_device_name(0), torch.device("cuda", 0)
        found = recognize(name)
        memory = float(torch.cuda.get_device_properties(0).total_memory)
        if found is not None:
            return found
    else:
        threads = torch.get_num_threads()
        name, device = f"this CPU ({threads} thread{'s' * (threads != 1)})", torch.device("cpu")
        memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return Hardware(name, peak_of(device, "bf16").flops, peak_of(device, "fp32").flops, memory)


@dataclass(frozen=True)
class Peak:
    """Operations a second of one device, and where the figure is from."""

    flops: float
    measured: bool


def peak_of(device: torch.device, precision: Precision) -> Peak:
    """The peak of this device: from the table, or measured where the table does not say."""
    import torch

    if device.type == "cuda":
        hardware = recognize(torch.cuda.get_device_name(device))
        if hardware is not None and hardware.peak(precision):
            return Peak(hardware.peak(precision), measured=False)
    return Peak(measured_peak(str(device), precision, torch.get_num_threads()), measured=True)


@functools.lru_cache(maxsize=8)
def measured_peak(device: str, precision: Precision, threads: int, side: int = 1024, seconds: float = 0.1) -> float:
    """Operations a second of square matrix products, the best of those that fit into `seconds`; at least 3.

    Measured once for each device, precision and number of threads. On a busy machine it is too low, and MFU too high.
    """
    import torch

    from kosmos import machine

    return machine.measured_peak(torch.device(device), precision, seconds, side)
