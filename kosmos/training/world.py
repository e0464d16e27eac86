"""The ranks of a run: started by torchrun, or one alone. Collectives that the trainer needs, and an orderly end."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from kosmos.errors import ConfigError, Interrupted, KosmosError, UsageError
from kosmos.training.precision import choose_device
from kosmos.training.rendezvous import meet


@dataclass(frozen=True)
class World:
    """Who takes part. `mesh` is None where there is one rank alone: then nothing is communicated."""

    rank: int
    size: int
    device: torch.device
    mesh: DeviceMesh | None = None

    @property
    def is_first(self) -> bool:
        """Whether this rank writes what is written once."""
        return self.rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """Sums over all ranks, in fp64: counts up to 2^53 are exact."""
        if self.mesh is None:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, group=cpu_group())
        return tensor.tolist()

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, on every rank."""
        if self.mesh is None:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=cpu_group())
        return values

    def from_first(self, value: Any) -> Any:
        """What the first rank says."""
        if self.mesh is None:
            return value
        box = [value if self.is_first else None]
        dist.broadcast_object_list(box, src=0, group=cpu_group())
        return box[0]

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.mesh is not None:
            dist.barrier(group=cpu_group())


_groups: dict[str, Any] = {}


def cpu_group() -> Any:
    """Small things go by gloo even where gradients go by NCCL: no GPU is waited for."""
    return _groups["cpu"]


def checkpoint_group() -> Any:
    """A group of its own for what writes checkpoints behind the training: two threads must not share one."""
    return _groups["checkpoint"]


def started_by_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ or ("RANK" in os.environ and "WORLD_SIZE" in os.environ)


@contextlib.contextmanager
def open_world(device: str = "auto", replicas: int = 1) -> Iterator[World]:
    """The world of this process; on leaving, all ranks end together.

    `replicas` is how many copies of the sharded model there are (mesh dp_replicate x dp_shard). Raises ConfigError
    when it does not divide the ranks, UsageError when there are fewer GPUs than ranks on this machine.
    """
    place = choose_device(device)
    if not started_by_torchrun():
        if replicas != 1:
            raise ConfigError(f"parallel.replicas {replicas} needs as many ranks: start with torchrun")
        yield World(0, 1, place)
        return
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if size % replicas:
        raise ConfigError(f"parallel.replicas {replicas} does not divide the {size} ranks")
    if place.type == "cuda":
        local = int(os.environ.get("LOCAL_RANK", 0))
        if local >= torch.cuda.device_count():
            raise UsageError(f"rank {rank} would be GPU {local} of {torch.cuda.device_count()} here; start fewer ranks")
        place = torch.device("cuda", local)
        torch.cuda.set_device(place)
    backend = "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=meet(rank, size), rank=rank, world_size=size)
    try:
        for name in ("cpu", "checkpoint"):
            _groups[name] = dist.new_group(backend="gloo")
        mesh = init_device_mesh(place.type, (replicas, size // replicas), mesh_dim_names=("dp_replicate", "dp_shard"))
        yield World(rank, size, place, mesh)
    except Interrupted:
        # All ranks agreed to stop, so they end together too.
        _shutdown(wait=True)
        raise
    except BaseException as error:
        # Others may wait in a collective that this rank will never join: no barrier here, torchrun ends them.
        _shutdown(wait=False)
        if isinstance(error, RuntimeError) and "gloo" in str(error):
            raise KosmosError(f"rank {rank} stops: another rank is gone; what that one says is the reason") from error
        raise
    _shutdown(wait=True)


def _shutdown(wait: bool) -> None:
    """Leave the process group. Without a barrier and a collection before it, gloo aborts now and then at exit."""
    if wait:
        dist.barrier(group=cpu_group())
    gc.collect()
    _groups.clear()
    dist.destroy_process_group()
