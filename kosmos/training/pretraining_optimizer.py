"""The optimizer of vision pretraining: Muon for matrices and filters, AdamW for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from kosmos.config import VisionPretrainingConfig
from kosmos.training.contrast import Contrast


class PretrainingOptimizer:
    """Muon on filters (as matrices [outputs, height * width * inputs]) and on the resampler's matrices, AdamW on the
    rest; linear warm-up, linear decay to 0."""

    def __init__(self, model: Contrast, config: VisionPretrainingConfig) -> None:
        self._filters = [parameter for parameter in model.parameters() if parameter.ndim == 4]
        # A matrix that shares the filter's memory: torch's Muon takes nothing but matrices.
        self._views = [nn.Parameter(_as_matrix(parameter.data)) for parameter in self._filters]
        matrices = [module.weight for module in model.resampler.modules() if isinstance(module, nn.Linear)]
        muon = {id(parameter) for parameter in (*self._filters, *matrices)}
        slow = [p for p in model.resampler.parameters() if id(p) not in muon]
        taken = muon | {id(parameter) for parameter in slow}
        rest = [parameter for parameter in model.parameters() if id(parameter) not in taken]
        self._muon = torch.optim.Muon(
            [*self._views, *matrices], lr=config.matrix_lr, momentum=0.9, weight_decay=config.weight_decay, ns_steps=4
        )
        groups = [{"params": rest, "lr": config.lr}, {"params": slow, "lr": config.lr / 10}]
        self._adamw = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True)
        self._optimizers = (self._muon, self._adamw)
        self._rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self._optimizers]
        self._config = config

    def step(self, step: int) -> None:
        """Apply the gradients of step t = 1 .. steps."""
        share = share_of_rate(step, self._config)
        for view, parameter in zip(self._views, self._filters, strict=True):
            assert parameter.grad is not None
            view.grad = _as_matrix(parameter.grad)
        for optimizer, rates in zip(self._optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        for parameter in self._filters:
            parameter.grad = None

    def state_dict(self) -> list[dict[str, Any]]:
        """The moments of both optimizers, for `load_state_dict`."""
        return [optimizer.state_dict() for optimizer in self._optimizers]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Go on from what `state_dict` gave for the same model."""
        for optimizer, moments in zip(self._optimizers, state, strict=True):
            optimizer.load_state_dict(moments)


def share_of_rate(step: int, config: VisionPretrainingConfig) -> float:
    """What step t = 1 .. steps has of the full rates."""
    return min(step / max(1, config.warmup_steps), 1.0) * (1.0 - (step - 1) / config.steps)


def _as_matrix(filters: Tensor) -> Tensor:
    """[O, I, H, W] -> [O, H * W * I], a view when the memory is channels-last."""
    return filters.permute(0, 2, 3, 1).reshape(len(filters), -1)
