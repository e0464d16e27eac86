"""Floating-point operations of a training step, from the configuration alone; torch is not needed for it.

A product of [m, k] with [k, n] is 2mkn operations; only matrix products and convolutions count. With d hidden size,
f inner width, L layers, V vocabulary, T row length, a token costs

    decoder     6 L (4 d^2 + 2 d f)     forward 2, backward 4 for each weight
    attention   6 L d T                 scores and weighted sum; half of the square, since the mask is causal
    head        6 d V                   at every position

of which the first and last line are the usual 6N, N the weights in matrix products. Padding is not counted; a mask
between documents changes nothing. A picture costs the forward pass of the vision tower, and its backward pass where
all of the tower trains. For KOSMOS-1 that is 8.64 GFLOP a token and 162 GFLOP a picture.

    MFU = counted operations of the step / (seconds of the step * devices * peak of a device)

Left out of that, but known to `StepFlops`: the backward pass of the tower's last layer and the resampler (2 % of
KOSMOS-1's step). Counted though not done: the head where nothing is supervised (our head leaves those positions out).
Activations that are made again do not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kosmos.config import DecoderConfig, ModelConfig, ResamplerConfig, VisionConfig

# The backward pass of a matrix product is two: gradients of the weights, and of what went in.
_BACKWARD = 2


@dataclass(frozen=True)
class Amount:
    """What a step holds of one source: tokens (image slots too, padding not), its rows' length, pictures."""

    tokens: float
    row_length: int
    images: float = 0.0
    supervised: float | None = None  # targets of the loss; None: every token


@dataclass(frozen=True)
class PictureFlops:
    """Operations for one picture."""

    tower_forward: float
    tower_backward: float
    resampler: float  # forward and backward


@dataclass(frozen=True)
class StepFlops:
    """Operations of one optimizer step, by part."""

    decoder: float
    attention: float
    head: float  # at every position
    tower_forward: float
    tower_backward: float  # of what trains of it
    resampler: float
    head_left_out: float  # of `head`, the positions at which no logits are made
    counts_tower_backward: bool = False

    @property
    def counted(self) -> float:
        """What MFU counts."""
        backward = self.tower_backward if self.counts_tower_backward else 0.0
        return self.decoder + self.attention + self.head + self.tower_forward + backward

    @property
    def done(self) -> float:
        """What the step really multiplies, activations that are made again aside."""
        everything = self.decoder + self.attention + self.head + self.tower_forward + self.tower_backward
        return everything + self.resampler - self.head_left_out


def step_flops(config: ModelConfig, amounts: Iterable[Amount]) -> StepFlops:
    """Operations of a step that holds these amounts. Encoders of further modalities are not known here."""
    decoder = config.decoder
    found = list(amounts)
    tokens = sum(amount.tokens for amount in found)
    supervised = sum(amount.tokens if amount.supervised is None else amount.supervised for amount in found)
    images = sum(amount.images for amount in found)
    picture = picture_flops(config) if config.vision is not None else PictureFlops(0.0, 0.0, 0.0)
    forward_and_backward = 1 + _BACKWARD
    head = forward_and_backward * 2 * decoder.hidden_size * decoder.vocab_size
    return StepFlops(
        decoder=forward_and_backward * 2 * decoder_weights(decoder) * tokens,
        attention=sum(
            forward_and_backward * causal_attention_flops(decoder, amount.row_length) * amount.tokens
            for amount in found
        ),
        head=head * tokens,
        tower_forward=picture.tower_forward * images,
        tower_backward=picture.tower_backward * images,
        resampler=picture.resampler * images,
        head_left_out=head * max(0.0, tokens - supervised),
        counts_tower_backward=config.vision is not None and config.vision.trainable == "all",
    )


def token_flops(config: DecoderConfig, row_length: int) -> float:
    """Counted operations of a text token, forward and backward, in rows of `row_length`."""
    weights = decoder_weights(config) + config.hidden_size * config.vocab_size
    return (1 + _BACKWARD) * (2 * weights + causal_attention_flops(config, row_length))


def decoder_weights(config: DecoderConfig) -> int:
    """Weights in the matrix products of the layers; biases, LayerNorms and the head aside."""
    return config.num_layers * (4 * config.hidden_size**2 + 2 * config.hidden_size * config.ffn_size)


def causal_attention_flops(config: DecoderConfig, row_length: int) -> float:
    """Forward operations of scores and weighted sum for one token, on average over a row: half of 4 T d a layer."""
    return config.num_layers * 2.0 * row_length * config.hidden_size


def picture_flops(config: ModelConfig) -> PictureFlops:
    """Operations for one picture. `config.vision` must not be None."""
    vision = config.vision
    assert vision is not None
    parts = _clip_parts(vision) if vision.kind == "clip" else _conv_parts(vision)
    forward = parts.first + parts.middle + parts.last
    # Nobody asks for the gradient of pixels, nor for that of what the frozen part gives.
    backward = {
        "all": parts.first + _BACKWARD * (parts.middle + parts.last),
        "last_layer": parts.last * (_BACKWARD if parts.last_learns_before_it else 1),
        "none": 0.0,
    }[vision.trainable]
    positions = num_positions(vision)
    resampler = _resampler(
        config.resampler, positions, vision.hidden_size, config.decoder.hidden_size, vision.trainable != "none"
    )
    return PictureFlops(forward, backward, resampler)


def num_positions(config: VisionConfig) -> int:
    """Positions P of the features [P, C] that the tower makes of a picture."""
    if config.kind == "clip":
        return (config.image_size // config.patch_size) ** 2 + 1
    return (config.image_size // (config.stem_stride * 2 ** (len(config.channels) - 1))) ** 2


@dataclass(frozen=True)
class _TowerParts:
    """Forward operations of a tower: what reads pixels, the rest, the last layer."""

    first: float
    middle: float
    last: float
    last_learns_before_it: bool  # a LayerNorm that learns stands before its first product


def _clip_parts(config: VisionConfig) -> _TowerParts:
    width, positions = config.hidden_size, num_positions(config)
    weights = 4 * width**2 + 2 * width * config.ffn_size
    block = 2 * positions * weights + 4 * positions**2 * width
    patches = 2 * (positions - 1) * 3 * config.patch_size**2 * width
    return _TowerParts(patches, (config.num_layers - 1) * block, block, last_learns_before_it=True)


def _conv_parts(config: VisionConfig) -> _TowerParts:
    side, width = config.image_size, 3
    costs: list[float] = []
    for stage, channels in enumerate(config.channels):
        stride = config.stem_stride if stage == 0 else 2
        kernel = 3 if stride == 2 else stride
        side //= stride
        costs.append(2.0 * side**2 * width * channels * kernel**2)
        costs += [2.0 * side**2 * channels**2 * 9] * config.blocks
        width = channels
    last = 2.0 * side**2 * width**2 * 9
    return _TowerParts(costs[0], sum(costs[1:]), last, last_learns_before_it=False)


def _resampler(config: ResamplerConfig, positions: int, features: int, hidden: int, features_learn: bool) -> float:
    """Forward and backward: latents L look at P features and at themselves."""
    latents = config.num_latents
    seen = positions + latents
    attention = 2 * hidden**2 * (2 * latents + 2 * seen) + 4 * latents * seen * hidden
    dense = 2 * positions * features * hidden
    dense_total = dense * (1 + (_BACKWARD if features_learn else 1))
    if config.kind == "cross_attention":
        return dense_total + (1 + _BACKWARD) * attention
    layer = attention + 2 * latents * 8 * hidden**2
    return dense_total + (1 + _BACKWARD) * config.num_layers * layer
