"""What the tests of several ranks run under torchrun: `ranks.py train|gradients|poisoned|failing ...`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from kosmos.batch import Batch
from kosmos.config import OptimizerConfig, TrainConfig
from kosmos.config_files import load_config
from kosmos.errors import Interrupted, KosmosError
from kosmos.model.kosmos import Kosmos
from kosmos.training import linear_cross_entropy
from kosmos.training.checkpoint import whole_tensors
from kosmos.training.loop import train
from kosmos.training.optimizer import Optimizer
from kosmos.training.parallel import parallelize
from kosmos.training.step import NonFiniteError, StepPlan, TrainingModule, train_step
from kosmos.training.world import World, open_world
from tests.training.poison import poison


def run_training(config: TrainConfig, out: Path, stop_at: int) -> None:
    """Train or go on; the last rank is told to stop at a step."""

    def on_step(record: dict[str, Any]) -> None:
        if record["step"] == stop_at and os.environ["RANK"] == str(int(os.environ["WORLD_SIZE"]) - 1):
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        train(config, out, resume=out.exists(), quiet=True, on_step=on_step)
    except Interrupted:
        print("interrupted", flush=True)


def run_failing(config: TrainConfig, out: Path) -> None:
    """Train; the last rank fails, alone, after its fourth step."""

    def on_step(record: dict[str, Any]) -> None:
        if record["step"] == 4 and os.environ["RANK"] == str(int(os.environ["WORLD_SIZE"]) - 1):
            raise ValueError("out of luck")

    try:
        train(config, out, quiet=True, on_step=on_step)
    except (KosmosError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", flush=True)


class Gradients(Optimizer):
    """An optimizer that keeps the gradients it is to clip, whole and by name."""

    def clip(self) -> torch.Tensor:
        self.seen = {
            name: (p.grad.full_tensor() if isinstance(p.grad, DTensor) else p.grad).clone()
            for name, p in self._parameters.items()
            if p.grad is not None
        }
        return super().clip()


def one_step(config: TrainConfig, batches: list[Batch], world: World, ranks_of: list[int], reduce_each: bool) -> Any:
    """Gradients, loss, norm and the weights after one step; batch number m runs on rank `ranks_of[m]`."""
    torch.manual_seed(0)
    model = Kosmos(config.model, random_vision=True).train()
    module = TrainingModule(model, joined=world.mesh is not None)
    parallelize(module, model, config.parallel, world)
    optimizer = Gradients(model, OptimizerConfig(lr=1e-2, warmup_steps=0), 100)
    mine = [batch for batch in batches if world.mesh is None or ranks_of[batch.number] == world.rank]
    rounds = len(batches) if world.mesh is None else max(ranks_of.count(rank) for rank in range(world.size))
    plan = StepPlan(tuple(config.data.sources), rounds)
    result = train_step(
        module, optimizer, mine, step=1, seed=5, world=world, precision="fp32", plan=plan, reduce_each=reduce_each
    )
    return {"gradients": optimizer.seen, "result": result, "weights": whole_tensors(model, world)}


def main() -> None:
    torch.set_num_threads(1)
    action, config_file, *rest = sys.argv[1:]
    config = load_config(Path(config_file), TrainConfig)
    if action == "train":
        run_training(config, Path(rest[0]), int(rest[1]))
        return
    if action == "failing":
        run_failing(config, Path(rest[0]))
        return
    if action == "poisoned":
        poison({int(step) for step in rest[1:]})
        try:
            train(config, Path(rest[0]), quiet=True)
        except NonFiniteError as error:
            print(error, flush=True)
        return
    with open_world("cpu", config.parallel.replicas) as world:
        found = []
        for case in torch.load(rest[0], weights_only=False):
            # The head by blocks, which is for large vocabularies.
            linear_cross_entropy._WORTH = 0 if case["by_blocks"] else 1 << 22
            linear_cross_entropy._BLOCK["cpu"] = 200
            found.append(one_step(config, case["batches"], world, case["ranks_of"], case["reduce_each"]))
        if world.is_first:
            torch.save(found, rest[1])


if __name__ == "__main__":
    main()
