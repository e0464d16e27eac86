"""What every vision tower shares: sizes, and which part of it trains."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from kosmos.config import VisionConfig


class VisionTower(nn.Module):
    """Pixels [N, 3, S, S] to features [N, P, C], each position L2-normalised.

    `trainable: last_layer` is what the paper calls the last layer: all below it runs without gradients, and the tower
    stays in evaluation mode, so that the frozen part is deterministic.
    """

    def __init__(self, config: VisionConfig, num_positions: int) -> None:
        super().__init__()
        self.trainable = config.trainable
        self.hidden_size = config.hidden_size
        self.num_positions = num_positions

    def last_layer_modules(self) -> list[nn.Module]:
        """What `trainable: last_layer` leaves trainable."""
        raise NotImplementedError

    def freeze(self) -> None:
        """Let gradients into the whole tower, its last layer or nothing, as the configuration says."""
        self.requires_grad_(self.trainable == "all")
        if self.trainable == "last_layer":
            for module in self.last_layer_modules():
                module.requires_grad_(True)
        self.train(self.trainable == "all")

    def train(self, mode: bool = True) -> Self:
        return super().train(mode and self.trainable == "all")

    def gradients_below_last_layer(self) -> torch.set_grad_enabled:
        """Context for everything below the last layer: no gradients unless all of the tower trains."""
        return torch.set_grad_enabled(torch.is_grad_enabled() and self.trainable == "all")

    def materialize(self) -> None:
        """Finish a tower that was built on the meta device and got its tensors from a file."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [N, 3, S, S] -> features [N, P, C]."""
        raise NotImplementedError
