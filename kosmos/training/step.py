"""One optimizer step: the loss is the sum over supervised tokens divided by their number in the whole step."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kosmos.batch import Batch, round_up
from kosmos.config import Precision
from kosmos.data.permutation import seed_of
from kosmos.errors import DataError, KosmosError
from kosmos.model.kosmos import Kosmos
from kosmos.training.optimizer import Optimizer
from kosmos.training.precision import autocast

_IGNORED = -100


class NonFiniteError(KosmosError):
    """Loss or gradient became infinite or NaN; the step was not applied (exit code 1)."""


class TrainingModule(nn.Module):
    """The model with its loss: the module that a training step runs, and later shards."""

    def __init__(self, model: Kosmos) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(sum of negative log-likelihoods in nats, fp32 scalar; number of supervised tokens, int64 scalar).

        Logits are made at supervised positions only; a token is predicted at the position before it.
        """
        hidden = self.model(batch)[:, :-1].flatten(0, 1)
        targets = batch.token_ids[:, 1:].flatten()
        where = batch.supervised[:, 1:].flatten().nonzero().squeeze(1)
        count = len(where)
        # A few positions more, whose targets are ignored: the number of shapes stays small.
        filler = where.new_zeros(round_up(count) - count)
        targets = torch.cat((targets[where], filler.fill_(_IGNORED)))
        logits = self.model.head(hidden[torch.cat((where, torch.zeros_like(filler)))])
        # cross_entropy in fp32, whatever autocast gave
        loss = F.cross_entropy(logits.float(), targets, reduction="sum", ignore_index=_IGNORED)
        return loss, torch.tensor(count, device=targets.device)


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


def train_step(
    module: TrainingModule,
    optimizer: Optimizer,
    batches: list[Batch],
    *,
    step: int,
    seed: int,
    device: torch.device,
    precision: Precision,
) -> StepResult:
    """Run step t over its micro-batches and apply it.

    Raises NonFiniteError before anything is applied, DataError when nothing in the step is supervised.
    """
    total = sum(batch.num_supervised for batch in batches)
    if total == 0:
        raise DataError(f"step {step}: no token of the step is supervised; look at the corpora with `kosmos data`")
    sums: dict[str, list[Tensor]] = {}
    counts: dict[str, int] = {}
    for index, batch in enumerate(batches):
        here = batch.num_supervised
        seed_micro_batch(seed, step, index)
        with autocast(precision, device):
            loss, _ = module(batch.to(device))
        (loss / total).backward()
        sums.setdefault(batch.source, []).append(loss.detach())
        counts[batch.source] = counts.get(batch.source, 0) + here
    norm = float(optimizer.clip())
    # fp64, so that the figure does not depend on how rows were divided more than it must
    by_source = {name: math.fsum(torch.stack(parts).double().tolist()) for name, parts in sums.items()}
    mean = math.fsum(by_source.values()) / total
    if not (math.isfinite(mean) and math.isfinite(norm)):
        bad = next((name for name, value in by_source.items() if not math.isfinite(value)), "all")
        raise NonFiniteError(
            f"step {step}: loss {mean:g}, gradient norm {norm:g} (source {bad}); the step was not applied and nothing "
            "was saved over; lower optimizer.lr, or resume from the last checkpoint with precision: fp32"
        )
    rate = optimizer.step(step)
    return StepResult(
        loss=mean,
        grad_norm=norm,
        lr=rate,
        source_loss={name: value / counts[name] for name, value in by_source.items() if counts[name]},
    )
