"""What a rank needs in memory, estimated from the configuration alone; torch is not needed for it.

With P parameters, P' of them trained, r ranks to a copy of the model, b bytes of what products give (bf16 2, fp32 4),
d hidden size, f inner width, V vocabulary, t tokens of a micro-batch and s of them supervised:

    weights      4 P / r        gradients    4 P' / r        optimizer    8 P' / r (AdamW's two moments)
    gathered     2 blocks and the root (embedding) at 4 or 2 bytes, where weights are sharded; and with
                 `parallel.reduce: step` and several micro-batches, the whole sum of gradients, 4 P'
    copies       2 P' for autocast's bf16 weights; none with `parallel.gather: bf16` on several ranks
    activations  kept for the backward pass, t times, for each decoder layer:
                   none       fp32: 38 d + 12 f    bf16: 32 d + 8 f    (with dropout 2 d of them are masks)
                   selective  4 d + 6 b d + b f    and one layer as under none, made again
                   full       4 d                  and one layer as under none, made again
                 a mask between documents: b t * row length a layer
                 the vision tower's layers that train, the resampler, and what the frozen part works in
    head         by blocks of r rows (r V is 2^27 on a GPU) whose gradients are joined by four:
                 8 r V + b 4 r V, the gradients 4 V d and 4 s d, and in bf16 the product 2 V d;
                 12 s V where there are no more than 2^22 logits

The largest micro-batch of any source counts. Not in it: the allocator's slack, the GPU's context (about 1 GB), NCCL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kosmos.config import ModelConfig, ParallelConfig, Precision, VisionConfig
from kosmos.training.flops import num_positions

_FP32 = 4
_MOMENTS = 8
# Of kosmos/training/linear_cross_entropy.py: logits of a block on a GPU, blocks joined, logits that are not worth it.
BLOCK_LOGITS = 1 << 27
JOINED_BLOCKS = 4
WORTH_BLOCKS = 1 << 22


@dataclass(frozen=True)
class Sizes:
    """Parameters that the estimate needs: of the model, of what trains, of its largest block, of what is no block."""

    total: int
    trainable: int
    largest_block: int
    root: int


@dataclass(frozen=True)
class MicroBatch:
    """The largest micro-batch of a source: its rows, and the supervised tokens and pictures to expect in it."""

    rows: int
    row_length: int
    supervised: float
    images: float
    document_mask: bool = False

    @property
    def tokens(self) -> int:
        return self.rows * self.row_length


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one rank. `source` is the one whose micro-batches need most."""

    weights: float
    gradients: float
    optimizer: float
    gathered: float
    copies: float
    activations: float
    head: float
    source: str

    @property
    def total(self) -> float:
        fixed = self.weights + self.gradients + self.optimizer
        return fixed + self.gathered + self.copies + self.activations + self.head


def estimate_memory(
    config: ModelConfig,
    parallel: ParallelConfig,
    precision: Precision,
    sizes: Sizes,
    micro_batches: Mapping[str, MicroBatch],
    ranks: int,
    rounds: int,
) -> MemoryEstimate:
    """The estimate for each of `ranks` ranks, which run `rounds` micro-batches a step. `micro_batches` by source."""
    shards = max(1, ranks // parallel.replicas)
    sharded = ranks > 1
    gather_bytes = 2 if parallel.gather == "bf16" else _FP32
    gathered = 0.0
    if sharded:
        gathered = gather_bytes * (2 * sizes.largest_block + sizes.root)
        held_back = parallel.reduce == "step" and rounds > 1
        gathered += _FP32 * (sizes.trainable if held_back else sizes.largest_block + sizes.root)
    casts = precision == "bf16" and not (sharded and parallel.gather == "bf16")
    needs = {
        name: (activation_bytes(config, parallel, precision, batch), head_bytes(config, precision, batch))
        for name, batch in micro_batches.items()
    }
    source = max(needs, key=lambda name: sum(needs[name]), default="")
    activations, head = needs.get(source, (0.0, 0.0))
    return MemoryEstimate(
        weights=_FP32 * sizes.total / shards,
        gradients=_FP32 * sizes.trainable / shards,
        optimizer=_MOMENTS * sizes.trainable / shards,
        gathered=gathered,
        copies=2.0 * sizes.trainable if casts else 0.0,
        activations=activations,
        head=head,
        source=source,
    )


def head_bytes(config: ModelConfig, precision: Precision, batch: MicroBatch, block_logits: int = BLOCK_LOGITS) -> float:
    """What the head and the loss hold at most. Logits are made at supervised positions only, a block at a time."""
    words, width, supervised = config.decoder.vocab_size, config.decoder.hidden_size, batch.supervised
    if supervised * words <= WORTH_BLOCKS:
        return 12.0 * supervised * words
    result = 2 if precision == "bf16" else _FP32
    rows = min(supervised, max(1, block_logits // words))
    logits = (2 * _FP32 * rows + result * min(supervised, JOINED_BLOCKS * rows)) * words
    product = 2 * words * width if precision == "bf16" else 0
    return logits + _FP32 * width * (words + supervised) + product


def activation_bytes(config: ModelConfig, parallel: ParallelConfig, precision: Precision, batch: MicroBatch) -> float:
    """What the forward pass of a micro-batch keeps, and the most that is worked in beside it."""
    decoder = config.decoder
    width, result = decoder.hidden_size, 2 if precision == "bf16" else _FP32
    mode = parallel.activation_checkpointing
    whole_layer = batch.tokens * layer_bytes(config, precision)
    if batch.document_mask:
        whole_layer += result * batch.tokens * batch.row_length
    if mode == "none":
        kept = decoder.num_layers * whole_layer
    else:
        each = _FP32 * width
        if mode == "selective":
            each += result * (6 * width + decoder.ffn_size)
        kept = decoder.num_layers * batch.tokens * each + whole_layer
    # Embedded rows, slots filled, and the last LayerNorm; gradients of a layer's inner width while going back.
    kept += batch.tokens * (_FP32 * width * 4 + 2 * result * decoder.ffn_size)
    kept_of_vision, worked_in = _vision_bytes(config, precision, batch.images)
    # The frozen part of the tower is done with before the decoder begins.
    return kept_of_vision + max(worked_in, kept)


def layer_bytes(config: ModelConfig, precision: Precision) -> float:
    """Kept of a token in one decoder layer without activation checkpointing."""
    decoder = config.decoder
    width, inner = decoder.hidden_size, decoder.ffn_size
    masks = 2 * width if decoder.dropout > 0 else 0
    if precision == "bf16":
        # The stream and what LayerNorms read are fp32; each product keeps a bf16 copy of its input.
        sub_ln = (4 * width + 4 * inner) if decoder.sub_ln else 0
        return 26 * width + masks + 4 * inner + sub_ln
    sub_ln = (4 * width + 4 * inner) if decoder.sub_ln else 0
    return 32 * width + masks + 8 * inner + sub_ln


def _vision_bytes(config: ModelConfig, precision: Precision, images: float) -> tuple[float, float]:
    """(bytes kept for the backward pass, bytes that the tower works in and gives back), of `images` pictures."""
    vision = config.vision
    if vision is None or not images:
        return 0.0, 0.0
    result = 2 if precision == "bf16" else _FP32
    positions, latents, hidden = num_positions(vision), config.resampler.num_latents, config.decoder.hidden_size
    seen = positions + latents
    layers = config.resampler.num_layers if config.resampler.kind == "perceiver" else 1
    # Features, what keys and values are made of, keys, values; queries and what they give.
    resampler = positions * result * (vision.hidden_size + hidden) + layers * (
        result * hidden * (3 * seen + 4 * latents)
    )
    if config.resampler.kind == "perceiver":
        resampler += layers * hidden * (_FP32 * seen + latents * (8 * result + 3 * _FP32))
    kept, worked_in = _clip_bytes(vision, result) if vision.kind == "clip" else _conv_bytes(vision)
    pixels = 3 * vision.image_size**2
    if vision.trainable == "all":
        kept += _FP32 * pixels
    else:
        worked_in += _FP32 * pixels
    return images * (resampler + pixels + kept), images * worked_in


def _clip_bytes(vision: VisionConfig, result: int) -> tuple[float, float]:
    positions, width, inner = num_positions(vision), vision.hidden_size, vision.ffn_size
    copies = 4 * result * width if result == 2 else 2 * result * width
    layer = 2 * _FP32 * width + copies + 4 * result * width + 3 * result * inner
    training = {"all": vision.num_layers, "last_layer": 1, "none": 0}[vision.trainable]
    normalized = 2 * _FP32 * width
    return positions * (training * layer + normalized), positions * (_FP32 * width + 3 * result * inner)


def _conv_bytes(vision: VisionConfig) -> tuple[float, float]:
    """Of each convolution its input, what the norm reads, and what it gives."""
    side, kept, most, last = vision.image_size, 0.0, 0.0, 0.0
    for stage, channels in enumerate(vision.channels):
        side //= vision.stem_stride if stage == 0 else 2
        last = 3.0 * _FP32 * side**2 * channels
        most = max(most, last)
        kept += last * (1 + vision.blocks)
    training = {"all": kept + last, "last_layer": last, "none": 0.0}[vision.trainable]
    return training, most
