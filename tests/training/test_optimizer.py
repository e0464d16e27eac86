from __future__ import annotations

import pytest
import torch
from torch import nn

from kosmos.config import OptimizerConfig
from kosmos.errors import ConfigError, StorageError
from kosmos.training.optimizer import Optimizer, learning_rate, named_trainable


def test_the_papers_schedule() -> None:
    paper = OptimizerConfig()
    rates = [learning_rate(step, paper, 300_000) for step in (1, 375, 150_000, 300_000)]
    assert rates == pytest.approx([5.3333e-7, 2e-4, 1.00125e-4, 0.0], rel=1e-4)
    assert rates[3] == 0.0
    assert learning_rate(299_999, paper, 300_000) > 0


def small(frozen: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    model[0].requires_grad_(not frozen)
    return model


def test_equals_adamw_written_out_with_decay_on_everything() -> None:
    config = OptimizerConfig(lr=0.1, warmup_steps=0, weight_decay=0.5)
    model = small()
    optimizer = Optimizer(model, config, total_steps=10)
    expected = {name: p.detach().clone() for name, p in model.named_parameters()}
    first = {name: torch.zeros_like(p) for name, p in expected.items()}
    second = {name: torch.zeros_like(p) for name, p in expected.items()}
    for step in (1, 2):
        model(torch.ones(2, 3)).square().sum().backward()
        rate = learning_rate(step, config, 10)
        for name, p in model.named_parameters():
            assert p.grad is not None
            first[name] = 0.9 * first[name] + 0.1 * p.grad
            second[name] = 0.98 * second[name] + 0.02 * p.grad**2
            expected[name] *= 1 - rate * 0.5
            denominator = (second[name] / (1 - 0.98**step)).sqrt() + 1e-6
            expected[name] -= rate * (first[name] / (1 - 0.9**step)) / denominator
        assert optimizer.step(step) == rate
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.detach(), expected[name], atol=1e-6, rtol=1e-5)
    assert all(p.grad is None for p in model.parameters())


def test_clip_scales_the_global_norm() -> None:
    model = small()
    optimizer = Optimizer(model, OptimizerConfig(clip_norm=2.0, warmup_steps=0), total_steps=5)
    (1e4 * model(torch.ones(2, 3)).square().sum()).backward()
    norm = float(optimizer.clip())
    after = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    assert norm > 100
    assert float(after) == pytest.approx(2.0, rel=1e-4)


def test_frozen_parameters_are_not_in_it() -> None:
    model = small(frozen=True)
    before = [p.detach().clone() for p in model[0].parameters()]
    optimizer = Optimizer(model, OptimizerConfig(lr=1.0, warmup_steps=0), total_steps=5)
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step(1)
    assert all(torch.equal(p, old) for p, old in zip(model[0].parameters(), before, strict=True))
    assert set(named_trainable(model)) == {"1.weight", "1.bias", "2.weight", "2.bias"}
    assert not any(name.startswith("0.") for name in optimizer.state_tensors())


def test_state_goes_through_tensors_by_name() -> None:
    config = OptimizerConfig(lr=0.1, warmup_steps=0)
    one, two = small(), small()
    first, second = Optimizer(one, config, 9), Optimizer(two, config, 9)
    one(torch.ones(2, 3)).square().sum().backward()
    first.step(1)
    two.load_state_dict(one.state_dict())
    second.load_state_tensors({name: t.clone() for name, t in first.state_tensors().items()})
    for model, optimizer in ((one, first), (two, second)):
        model(torch.ones(2, 3)).square().sum().backward()
        optimizer.step(2)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert set(first.state_tensors()) >= {"0.weight.exp_avg", "0.weight.exp_avg_sq", "0.weight.step"}


def test_what_does_not_fit_is_refused() -> None:
    config = OptimizerConfig(warmup_steps=0)
    optimizer = Optimizer(small(), config, 9)
    with pytest.raises(StorageError, match=r"does not fit the model: 9\.weight\.exp_avg"):
        optimizer.load_state_tensors({"9.weight.exp_avg": torch.zeros(1)})
    with pytest.raises(StorageError, match="does not fit"):
        optimizer.load_state_tensors({"0.weight.exp_avg": torch.zeros(1)})
    with pytest.raises(ConfigError, match="warmup_steps 10 is not below steps 5"):
        Optimizer(small(), OptimizerConfig(warmup_steps=10), 5)
    with pytest.raises(ConfigError, match="no trainable parameter"):
        Optimizer(small().requires_grad_(False), config, 5)


def with_encoder() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"decoder": nn.Linear(4, 2), "encoders": nn.ModuleDict({"image": nn.Linear(3, 4)})})


def trained(scale: float, steps: int = 3) -> tuple[dict[str, torch.Tensor], Optimizer]:
    """Parameters after some steps at a rate of 0.1 x scale for the encoder."""
    model = with_encoder()
    config = OptimizerConfig(lr=0.1, warmup_steps=0, weight_decay=0.5, encoder_lr_scale=scale)
    optimizer = Optimizer(model, config, total_steps=10)
    for step in range(1, steps + 1):
        model["decoder"](model["encoders"]["image"](torch.ones(2, 3))).square().sum().backward()  # type: ignore[index]
        optimizer.clip()
        assert optimizer.step(step) == learning_rate(step, config, 10)
    return {name: p.detach().clone() for name, p in model.named_parameters()}, optimizer


def test_encoders_may_learn_slower() -> None:
    before = {name: p.detach().clone() for name, p in with_encoder().named_parameters()}
    whole, _ = trained(1.0, steps=1)
    slow, optimizer = trained(0.25, steps=1)
    for name in before:
        share = 0.25 if name.startswith("encoders.") else 1.0
        torch.testing.assert_close(
            slow[name] - before[name], share * (whole[name] - before[name]), rtol=1e-4, atol=1e-7
        )
    rate = learning_rate(1, OptimizerConfig(lr=0.1, warmup_steps=0), 10)
    assert [group["lr"] for group in optimizer._adamw.param_groups] == [rate, 0.25 * rate]
    still, _ = trained(0.0)
    assert all(torch.equal(still[name], before[name]) == name.startswith("encoders.") for name in before)


def test_at_scale_1_nothing_changes_by_a_bit() -> None:
    model = with_encoder()
    config = OptimizerConfig(lr=0.1, warmup_steps=0, weight_decay=0.5)
    plain = torch.optim.AdamW(
        model.parameters(), lr=0.1, betas=config.betas, eps=config.eps, weight_decay=0.5, fused=True
    )
    for step in (1, 2, 3):
        model["decoder"](model["encoders"]["image"](torch.ones(2, 3))).square().sum().backward()  # type: ignore[index]
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        plain.param_groups[0]["lr"] = learning_rate(step, config, 10)
        plain.step()
        plain.zero_grad()
    scaled, optimizer = trained(1.0)
    assert all(torch.equal(scaled[name], p) for name, p in model.named_parameters())
    # The state is by name, so a run resumes whatever the groups are.
    assert set(optimizer.state_tensors()) == {
        f"{name}.{key}" for name in scaled for key in ("step", "exp_avg", "exp_avg_sq")
    }


def test_a_model_of_nothing_but_encoders() -> None:
    model = nn.ModuleDict({"encoders": nn.ModuleDict({"image": nn.Linear(3, 1)})})
    optimizer = Optimizer(model, OptimizerConfig(lr=0.1, warmup_steps=0, encoder_lr_scale=0.5), 10)
    assert len(optimizer._adamw.param_groups) == 1
    model["encoders"]["image"](torch.ones(1, 3)).sum().backward()  # type: ignore[index]
    assert optimizer.step(1) == pytest.approx(0.09)
    assert optimizer._adamw.param_groups[0]["lr"] == pytest.approx(0.045)
