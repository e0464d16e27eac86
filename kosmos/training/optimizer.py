"""AdamW with the paper's schedule (section 3.2): linear warm-up, then linear decay to 0 at the last step."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from kosmos.config import OptimizerConfig
from kosmos.errors import ConfigError, StorageError


def learning_rate(step: int, config: OptimizerConfig, total_steps: int) -> float:
    """The rate of step t = 1 .. total_steps: lr * t / warmup, then linear to exactly 0 at the last step."""
    if step <= config.warmup_steps:
        return config.lr * step / config.warmup_steps
    if step >= total_steps:
        return 0.0
    return config.lr * (total_steps - step) / (total_steps - config.warmup_steps)


def named_trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters to train by name, in the model's order; a tied one once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


class Optimizer:
    """AdamW over all trainable parameters; the decay is decoupled and spares none (as in the family's code)."""

    def __init__(self, model: nn.Module, config: OptimizerConfig, total_steps: int) -> None:
        if config.warmup_steps >= total_steps:
            raise ConfigError(f"optimizer.warmup_steps {config.warmup_steps} is not below steps {total_steps}")
        self._config = config
        self._total_steps = total_steps
        self._parameters = named_trainable(model)
        if not self._parameters:
            raise ConfigError("the model has no trainable parameter")
        encoders = [p for name, p in self._parameters.items() if name.startswith("encoders.")]
        others = [p for name, p in self._parameters.items() if not name.startswith("encoders.")]
        groups = [{"params": others, "scale": 1.0}, {"params": encoders, "scale": config.encoder_lr_scale}]
        self._adamw = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=config.lr,
            betas=config.betas,
            eps=config.eps,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def clip(self) -> Tensor:
        """Scale gradients to a global norm of at most `clip_norm`; returns the norm before, over all ranks."""
        norm = nn.utils.clip_grad_norm_(list(self._parameters.values()), self._config.clip_norm)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def drop(self) -> None:
        """Drop the gradients of a step that is not applied."""
        self._adamw.zero_grad(set_to_none=True)

    def step(self, step: int) -> float:
        """Apply the gradients of step t and drop them; returns the learning rate used."""
        rate = learning_rate(step, self._config, self._total_steps)
        for group in self._adamw.param_groups:
            group["lr"] = rate * group["scale"]
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
        return rate

    def state_tensors(self) -> dict[str, Tensor]:
        """Moments by parameter name: `NAME.exp_avg`, `NAME.exp_avg_sq`, `NAME.step`; sharded as the parameters are."""
        if not self._adamw.state:
            # Before the first step that is applied: what AdamW itself would begin with.
            return {name: torch.zeros_like(tensor) for name, tensor in self.empty_state_tensors().items()}
        return {
            f"{name}.{key}": value
            for name, parameter in self._parameters.items()
            for key, value in self._adamw.state[parameter].items()
        }

    def empty_state_tensors(self) -> dict[str, Tensor]:
        """Tensors of the names, shapes and shards of `state_tensors`, to be filled and loaded."""
        found: dict[str, Tensor] = {}
        for name, parameter in self._parameters.items():
            found[f"{name}.step"] = torch.zeros((), dtype=torch.float32)
            # Laid out as its parameter: the fused kernel walks both in the order of memory.
            found[f"{name}.exp_avg"] = torch.empty_like(parameter, requires_grad=False)
            found[f"{name}.exp_avg_sq"] = torch.empty_like(parameter, requires_grad=False)
        return found

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take over the filled tensors of `empty_state_tensors`. Raises StorageError when they are of another model."""
        self._adamw.state.clear()
        for full_name, tensor in tensors.items():
            name, _, key = full_name.rpartition(".")
            parameter = self._parameters.get(name)
            if parameter is None or (key != "step" and tensor.shape != parameter.shape):
                raise StorageError(f"the optimizer's state does not fit the model: {full_name}")
            self._adamw.state[parameter][key] = tensor.to(parameter.device)
