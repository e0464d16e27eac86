from __future__ import annotations

import pytest
import torch

from kosmos.errors import UsageError
from kosmos.training import precision
from kosmos.training.precision import autocast, choose_device, choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capability", "flags", "expected"),
    [
        ("AVX512", {"avx512_bf16"}, "bf16"),
        ("AVX512", {"amx_bf16"}, "bf16"),
        ("AVX512", {"avx512f"}, "fp32"),
        ("AVX2", {"avx512_bf16"}, "fp32"),
    ],
)
def test_auto_goes_by_what_the_processor_can(
    monkeypatch: pytest.MonkeyPatch, capability: str, flags: set[str], expected: str
) -> None:
    monkeypatch.setattr(precision, "_cpu_flags", lambda: flags)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert choose_precision("auto", CPU) == expected
    assert choose_precision("fp32", CPU) == "fp32"
    assert choose_precision("bf16", CPU) == "bf16"


def test_autocast() -> None:
    a = torch.ones(2, 2)
    with autocast("bf16", CPU):
        assert (a @ a).dtype == torch.bfloat16
    with autocast("fp32", CPU):
        assert (a @ a).dtype == torch.float32


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == CPU
    with pytest.raises(UsageError, match="finds no GPU"):
        choose_device("cuda")
