from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kosmos.batch import Batch
from kosmos.config import OptimizerConfig, TrainConfig
from kosmos.config import replace as change
from kosmos.data.stream import Step, build_stream
from kosmos.errors import DataError
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from kosmos.training import linear_cross_entropy
from kosmos.training.optimizer import Optimizer
from kosmos.training.step import NonFiniteError, StepResult, TrainingModule, seed_micro_batch, train_step
from kosmos.training.world import World

ALONE = World(0, 1, torch.device("cpu"))


def no_dropout(recipe: TrainConfig) -> TrainConfig:
    changed: TrainConfig = change(
        recipe,
        **{
            "model.decoder.dropout": 0.0,
            "model.decoder.attention_dropout": 0.0,
            "model.resampler.attention_dropout": 0.0,
        },
    )
    return changed


def build(recipe: TrainConfig) -> tuple[TrainingModule, Optimizer, Step]:
    torch.manual_seed(0)
    module = TrainingModule(Kosmos(recipe.model, random_vision=True).train())
    processor = Processor(Tokenizer.load(recipe.tokenizer), recipe.model)
    step = next(build_stream(recipe.data, processor, seed=3))
    return module, Optimizer(module.model, OptimizerConfig(lr=1e-2, warmup_steps=0), 100), step


def run(module: TrainingModule, optimizer: Optimizer, batches: list[Batch]) -> StepResult:
    return train_step(module, optimizer, batches, step=1, seed=5, world=ALONE, precision="fp32")


def test_loss_is_the_plain_sum_over_supervised_tokens(recipe: TrainConfig) -> None:
    module, _, step = build(no_dropout(recipe))
    for batch in step.batches:
        total, count = module(batch)
        logits = module.model.head(module.model(batch))[:, :-1]
        nll = F.cross_entropy(logits.transpose(1, 2), batch.token_ids[:, 1:], reduction="none")
        marks = batch.supervised[:, 1:]
        assert int(count) == int(marks.sum()) == batch.num_supervised
        torch.testing.assert_close(total, (nll * marks).sum(), atol=1e-4, rtol=1e-5)
        assert total.dtype == torch.float32


def gradients(recipe: TrainConfig, micro: int) -> tuple[dict[str, Tensor], StepResult]:
    """The gradients of one step of 8 rows a source, unclipped, before the optimizer has them."""
    sources = {
        name: replace(source, rows_per_step=8, micro_batch_rows=micro) for name, source in recipe.data.sources.items()
    }
    module, optimizer, step = build(replace(recipe, data=replace(recipe.data, sources=sources)))
    found: dict[str, Tensor] = {}

    def keep() -> Tensor:
        for name, parameter in module.model.named_parameters():
            assert parameter.grad is not None, name
            found[name] = parameter.grad.clone()
        return torch.stack([g.norm() for g in found.values()]).norm()

    optimizer.clip = keep  # type: ignore[method-assign]
    return found, run(module, optimizer, step.batches)


@pytest.mark.parametrize("by_blocks", [False, True])
def test_accumulation_1x8_equals_8x1(recipe: TrainConfig, monkeypatch: pytest.MonkeyPatch, by_blocks: bool) -> None:
    if by_blocks:  # the head, as for large vocabularies
        monkeypatch.setattr(linear_cross_entropy, "_WORTH", 0)
        monkeypatch.setitem(linear_cross_entropy._BLOCK, "cpu", 7 * recipe.model.decoder.vocab_size)
    whole, one = gradients(no_dropout(recipe), micro=8)
    parts, eight = gradients(no_dropout(recipe), micro=1)
    assert max(float((whole[name] - parts[name]).abs().max()) for name in whole) <= 1e-6
    assert one.loss == pytest.approx(eight.loss, abs=1e-6)
    assert one.source_loss == pytest.approx(eight.source_loss, abs=1e-6)


def test_the_mean_is_over_all_sources_together(recipe: TrainConfig) -> None:
    module, optimizer, step = build(no_dropout(recipe))
    result = run(module, optimizer, step.batches)
    counts = {name: c.supervised_tokens for name, c in step.counts.items()}
    weighted = sum(result.source_loss[name] * counts[name] for name in counts) / sum(counts.values())
    assert result.loss == pytest.approx(weighted, rel=1e-9)
    assert counts["text"] != counts["pairs"]


def test_dropout_depends_on_seed_step_and_micro_batch_only(recipe: TrainConfig) -> None:
    module, _, step = build(recipe)
    batch = step.batches[0]

    def loss(seed: int, number: int, index: int) -> float:
        seed_micro_batch(seed, number, index)
        return float(module(batch)[0].detach())

    assert loss(1, 2, 3) == loss(1, 2, 3)
    assert len({loss(*key) for key in [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4)]}) == 4


def test_nothing_is_applied_when_the_loss_is_not_finite(recipe: TrainConfig) -> None:
    module, optimizer, step = build(recipe)
    with torch.no_grad():
        module.model.decoder.embedding.weight[5] = float("nan")
    before = {name: p.detach().clone() for name, p in module.model.named_parameters()}
    with pytest.raises(NonFiniteError, match=r"step 1: loss nan, .* the step was not applied"):
        run(module, optimizer, step.batches)
    assert all(torch.equal(p.nan_to_num(), before[n].nan_to_num()) for n, p in module.model.named_parameters())
    assert all(not tensor.any() for tensor in optimizer.state_tensors().values())


def test_nothing_is_applied_when_a_gradient_alone_is_not_finite(recipe: TrainConfig) -> None:
    module, optimizer, step = build(recipe)
    before = {name: p.detach().clone() for name, p in module.model.named_parameters()}
    module.model.decoder.embedding.weight.register_hook(lambda gradient: gradient.clone().fill_(float("inf")))
    with pytest.raises(NonFiniteError, match=r"step 1: loss [0-9.]+, gradient norm inf \(source all\)"):
        run(module, optimizer, step.batches)
    assert all(torch.equal(p, before[n]) and p.grad is None for n, p in module.model.named_parameters())


def test_a_step_without_supervised_tokens_is_refused(recipe: TrainConfig) -> None:
    module, optimizer, step = build(recipe)
    empty = [replace(batch, supervised=torch.zeros_like(batch.supervised)) for batch in step.batches]
    with pytest.raises(DataError, match="no token of the step is supervised"):
        run(module, optimizer, empty)
    # One such micro-batch among others is fine.
    assert run(module, optimizer, [empty[0], *step.batches[1:]]).loss > 0


def test_bf16_computes_in_bf16_and_keeps_weights_in_fp32(recipe: TrainConfig) -> None:
    module, optimizer, step = build(no_dropout(recipe))
    exact, _, _ = build(no_dropout(recipe))
    full = run(exact, Optimizer(exact.model, OptimizerConfig(warmup_steps=0), 9), step.batches)
    half = train_step(module, optimizer, step.batches, step=1, seed=5, world=ALONE, precision="bf16")
    assert half.loss != full.loss
    assert half.loss == pytest.approx(full.loss, rel=0.02)
    assert {p.dtype for p in module.model.parameters()} == {torch.float32}
