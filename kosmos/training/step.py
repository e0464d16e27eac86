"""One optimizer step: the loss is the sum over supervised tokens divided by their number in the whole step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from kosmos.batch import Batch, ModalityInputs, round_up
from kosmos.config import DataConfig, ModelConfig, Precision
from kosmos.data.permutation import seed_of
from kosmos.data.stream import micro_batches
from kosmos.errors import ConfigError, DataError, KosmosError
from kosmos.modality import get_modality
from kosmos.model.kosmos import Kosmos
from kosmos.training.linear_cross_entropy import linear_cross_entropy
from kosmos.training.optimizer import Optimizer
from kosmos.training.parallel import reduce_gradients
from kosmos.training.precision import autocast
from kosmos.training.world import World

_IGNORED = -100


class NonFiniteError(KosmosError):
    """Loss or gradient became infinite or NaN; the step was not applied (exit code 1)."""


class TrainingModule(nn.Module):
    """The model with its loss: the module that a training step runs, and that is sharded.

    `joined`: every rank runs every encoder in every forward pass, on a blank input where its rows have none, since
    ranks gather a sharded encoder's weights together.
    """

    def __init__(self, model: Kosmos, joined: bool = False) -> None:
        super().__init__()
        self.model = model
        self._blanks = {name: blank_features(name, model.config) for name in model.encoders} if joined else {}

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(sum of negative log-likelihoods in nats, fp32 scalar; number of supervised tokens, int64 scalar).

        Logits are made at supervised positions only; a token is predicted at the position before it.
        """
        hidden = self._hidden(batch)[:, :-1].flatten(0, 1)
        targets = batch.token_ids[:, 1:].flatten()
        where = batch.supervised[:, 1:].flatten().nonzero().squeeze(1)
        count = len(where)
        # A few positions more, whose targets are ignored: the number of shapes stays small.
        filler = where.new_zeros(max(1, round_up(count)) - count)
        targets = torch.cat((targets[where], filler.fill_(_IGNORED)))
        rows = hidden[torch.cat((where, torch.zeros_like(filler)))]
        loss = linear_cross_entropy(rows, self.model.head_weight, targets, _IGNORED)
        return loss, torch.tensor(count, device=targets.device)

    def _hidden(self, batch: Batch) -> Tensor:
        if not self._blanks:
            hidden: Tensor = self.model(batch)
            return hidden
        device = batch.token_ids.device
        embedded, inputs = {}, dict(batch.inputs)
        for name, blank in self._blanks.items():
            if name in batch.inputs:
                embedded[name] = self.model.encode_inputs(name, batch.inputs[name].features)
                continue
            with _same_randomness(device):
                # None of its embeddings is used, and its gradient is zero: all that counts is to take part.
                embedded[name] = self.model.encode_inputs(name, blank.to(device))[:0]
            slots = torch.zeros(embedded[name].shape[:2], dtype=torch.int64, device=device)
            inputs[name] = ModalityInputs(blank, slots)
        hidden = self.model(replace(batch, inputs=inputs), embedded=embedded)
        return hidden


@contextmanager
def _same_randomness(device: torch.device) -> Iterator[None]:
    """What happens inside leaves the generators as they were: dropout must not depend on the number of ranks."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def blank_features(name: str, config: ModelConfig) -> Tensor:
    """One input [1, ...] of a modality that says nothing. Raises ConfigError when the modality names none."""
    blank = get_modality(name).blank
    if blank is None:
        raise ConfigError(f"the modality '{name}' cannot be trained on several ranks: it registers no `blank` features")
    return torch.from_numpy(blank(config))[None]


@dataclass(frozen=True)
class StepResult:
    """What a step reports. `loss` is nats per supervised token; `source_loss` the same of each source."""

    loss: float
    grad_norm: float
    lr: float
    source_loss: dict[str, float] = field(default_factory=dict)


def seed_micro_batch(seed: int, step: int, index: int) -> None:
    """Set all randomness of a micro-batch's dropout, so that it depends on nothing that came before."""
    torch.manual_seed(seed_of(seed, step, index) >> 1)


@dataclass(frozen=True)
class StepPlan:
    """What all ranks know of every step: the sources, and how many micro-batches the busiest rank runs."""

    sources: tuple[str, ...]
    rounds: int

    @classmethod
    def of(cls, data: DataConfig, world: World) -> StepPlan:
        return cls(tuple(data.sources), -(-len(micro_batches(data)) // world.size))


def spare_batch() -> Batch:
    """What a rank runs when the others still have a micro-batch and it has none: nothing in it is supervised."""
    return Batch(torch.full((1, 8), 3, dtype=torch.int64), torch.zeros((1, 8), dtype=torch.bool))


def train_step(
    module: nn.Module,
    optimizer: Optimizer,
    batches: list[Batch],
    *,
    step: int,
    seed: int,
    world: World,
    precision: Precision,
    plan: StepPlan | None = None,
    reduce_each: bool = False,
) -> StepResult:
    """Run step t over this rank's micro-batches and apply it.

    `plan` may be left out where there is one rank. `reduce_each`: gradients are summed over ranks after each
    micro-batch. Raises NonFiniteError before anything is applied, DataError when nothing in the step is supervised,
    both on all ranks alike.
    """
    plan = plan or StepPlan(tuple(dict.fromkeys(batch.source for batch in batches)), len(batches))
    here = [sum(batch.num_supervised for batch in batches if batch.source == name) for name in plan.sources]
    counts = dict(zip(plan.sources, world.sum([float(count) for count in here]), strict=True))
    total = sum(counts.values())
    if total == 0:
        raise DataError(f"step {step}: no token of the step is supervised; look at the corpora with `kosmos data`")
    sums: dict[str, list[Tensor]] = {name: [] for name in plan.sources}
    for index in range(plan.rounds):
        batch = batches[index] if index < len(batches) else spare_batch()
        seed_micro_batch(seed, step, batch.number)
        reduce_gradients(module, now=reduce_each or index + 1 == plan.rounds)
        with autocast(precision, world.device):
            loss, _ = module(batch.to(world.device))
        (loss / total).backward()
        if batch.source in sums:
            sums[batch.source].append(loss.detach())
    norm = float(optimizer.clip())
    # fp64, so that the figure does not depend on how rows were divided more than it must
    parts = [math.fsum(torch.stack(sums[name]).double().tolist()) if sums[name] else 0.0 for name in plan.sources]
    by_source = dict(zip(plan.sources, world.sum(parts), strict=True))
    mean = math.fsum(by_source.values()) / total
    if not (math.isfinite(mean) and math.isfinite(norm)):
        optimizer.drop()
        bad = next((name for name, value in by_source.items() if not math.isfinite(value)), "all")
        raise NonFiniteError(
            f"step {step}: loss {mean:g}, gradient norm {norm:g} (source {bad}); the step was not applied and nothing "
            "was saved over; lower optimizer.lr, set on_nonfinite, or resume with precision: fp32"
        )
    rate = optimizer.step(step)
    return StepResult(
        loss=mean,
        grad_norm=norm,
        lr=rate,
        source_loss={name: value / counts[name] for name, value in by_source.items() if counts[name]},
    )
