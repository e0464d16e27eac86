from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from kosmos.config import TrainConfig
from kosmos.config import replace as change
from kosmos.data.stream import SourceCounts
from kosmos.errors import UsageError
from kosmos.training.flops import Amount, step_flops
from kosmos.training.hardware import find_hardware, measured_peak, recognize
from kosmos.training.loop import train
from kosmos.training.meter import Meter, peak_memory
from kosmos.training.world import World

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("driver_name", "bf16_tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989.4),
        ("NVIDIA A100-SXM4-80GB", 311.9),
        ("NVIDIA GH200 480GB", 989.4),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("AMD Instinct MI300X", 1307.4),
    ],
)
def test_devices_by_the_drivers_name(driver_name: str, bf16_tflops: float) -> None:
    found = recognize(driver_name)
    assert found is not None and found.bf16 == pytest.approx(bf16_tflops * 1e12)


def test_devices_by_name() -> None:
    assert find_hardware("H100").peak("bf16") == pytest.approx(989.4e12)
    assert find_hardware("h100").peak("fp32") == pytest.approx(66.9e12)
    assert find_hardware("450").bf16 == pytest.approx(450e12)
    assert find_hardware("4090") is find_hardware("rtx-4090")  # not a device of 4,090 TFLOP/s
    assert recognize("Quadro 600") is None
    with pytest.raises(UsageError, match=r"no device 'h10' \(did you mean 'h100'\?\)"):
        find_hardware("h10")


def test_a_measured_peak_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = measured_peak("cpu", "fp32", 1, 256, 0.01)
    assert first > 1e8
    monkeypatch.setattr("kosmos.machine.time.perf_counter", lambda: 1 / 0)
    assert measured_peak("cpu", "fp32", 1, 256, 0.01) == first


def test_timing_of_a_step(recipe: TrainConfig) -> None:
    meter = Meter(recipe, recipe.model, World(0, 2, CPU), "fp32")
    counts = {"text": SourceCounts(4, 120, 100, 0), "pairs": SourceCounts(2, 90, 40, 6)}
    timing = meter.timing(counts, seconds=0.5, data_wait=0.05)
    flops = step_flops(recipe.model, [Amount(120, 32), Amount(90, 48, 6)]).counted
    assert timing.pop("mfu") == pytest.approx(flops / (0.5 * 2 * meter.peak.flops), abs=1e-5)
    assert timing.pop("peak_memory") == pytest.approx(peak_memory(CPU), rel=0.2)
    assert timing == {
        "seconds": 0.5,
        "data_wait": 0.05,
        "data_wait_percent": 10.0,
        "tokens_per_second": 420.0,
        "images_per_second": 12.0,
        "peak_flops": float(f"{meter.peak.flops:.4g}"),
    }
    assert meter.peak.measured


def test_memory_is_in_bytes() -> None:
    before = peak_memory(CPU)
    assert before > 100e6  # torch alone takes that much
    held = torch.ones(int(before // 4) + 20_000_000)
    assert peak_memory(CPU) >= before + 60_000_000
    del held


def test_a_run_says_its_mfu(recipe: TrainConfig, tmp_path: Path) -> None:
    run = train(change(recipe, steps=3), tmp_path / "run", quiet=True)
    for line in (run / "metrics.jsonl").read_text().splitlines():
        assert 0 < json.loads(line)["timing"]["mfu"] < 1.5
