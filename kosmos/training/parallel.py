"""Parallelism, beside the model and not in it: activation checkpointing, compilation and sharding of its blocks."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from kosmos.config import ParallelConfig
from kosmos.model.decoder import DecoderLayer
from kosmos.model.kosmos import Kosmos
from kosmos.training.world import World

# What selective checkpointing keeps: the results of matrix products and attention, which cost most to make again.
_KEPT = (
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
)


def blocks(model: Kosmos) -> list[nn.Module]:
    """The repeated blocks, decoder's and vision tower's: what is compiled, checkpointed and sharded one by one."""
    found: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, DecoderLayer) or type(module).__name__ == "CLIPEncoderLayer":
            found.append(module)
    return found


def parallelize(module: nn.Module, model: Kosmos, config: ParallelConfig, world: World) -> None:
    """Prepare `module` (the model with its loss) in place for this world.

    The order is torch's: activation checkpointing inside, compilation around it, sharding outermost. Gradients are
    summed over ranks, not averaged: the loss is divided by the step's supervised tokens already.
    """
    for block in blocks(model):
        if config.activation_checkpointing != "none" and any(p.requires_grad for p in block.parameters()):
            _checkpoint(block, selective=config.activation_checkpointing == "selective")
        if config.compile:
            block.compile()
    if world.mesh is None:
        return
    options: dict[str, Any] = {"mesh": world.mesh if world.mesh.size(0) > 1 else world.mesh["dp_shard"]}
    if config.gather == "bf16":
        options["mp_policy"] = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # shards are cut along the first dimension
    for block in blocks(model):
        fully_shard(block, **options)
    for encoder in model.encoders.values():
        encoder.register_forward_hook(_no_view)  # before that of fully_shard, which warns of views at every step
        fully_shard(encoder, **options)
    fully_shard(module, **options)
    for part in _sharded(module):
        part.set_force_sum_reduction_for_comms(True)
        part.set_gradient_divide_factor(1.0)


def reduce_gradients(module: nn.Module, now: bool) -> None:
    """Whether the next backward pass sums gradients over ranks; otherwise they add up on this rank."""
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(now)


def _no_view(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    """The same values in memory of their own: hooks on a view are lost when something is written into it."""
    return output.clone() if output._is_view() else output


def _sharded(module: nn.Module) -> list[FSDPModule]:
    return [part for part in module.modules() if isinstance(part, FSDPModule)]


def _checkpoint(block: nn.Module, selective: bool) -> None:
    """Have a block make its activations again in the backward pass instead of keeping them."""
    options: dict[str, Any] = {"use_reentrant": False}
    if selective:
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)
    block.forward = partial(checkpoint, block.forward, **options)


def _policy(context: Any, operation: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in _KEPT else CheckpointPolicy.PREFER_RECOMPUTE
