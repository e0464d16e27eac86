"""Configuration: frozen dataclasses, readable without torch, strict about every key.

A configuration file is YAML. Unknown keys and wrong types are errors that name the key and suggest the nearest one.
Defaults are KOSMOS-1's (paper section 3.2 and appendix A); what the paper leaves open is marked so.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

# Every class carries this for pydantic: unknown keys are errors, and text is not silently turned into numbers.
STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}

# What a model computes in; weights are fp32 always.
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class DecoderConfig:
    """The Magneto decoder (Table 17)."""

    __pydantic_config__ = STRICT

    num_layers: int = 24
    hidden_size: int = 2048
    ffn_size: int = 8192
    num_heads: int = 32
    vocab_size: int = 64007
    max_positions: int = 2048
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    sub_ln: bool = True
    position: Literal["xpos", "sinusoidal"] = "xpos"
    xpos_scale_base: int = 512
    layer_norm_eps: float = 1e-5
    # `torchscale`: default Linear init times gamma, biases too; `paper`: xavier normal with gain gamma.
    init: Literal["torchscale", "paper"] = "torchscale"


@dataclass(frozen=True)
class VisionConfig:
    """The vision tower: `clip` is transformers' CLIPVisionModel, `conv` a small convolutional tower."""

    __pydantic_config__ = STRICT

    kind: Literal["clip", "conv"] = "clip"
    # A local folder or a hub id in transformers' CLIP format, or a folder of `kosmos train-vision`; None: random.
    pretrained: str | None = None

    trainable: Literal["last_layer", "all", "none"] = "last_layer"
    image_size: int = 224  # side of the square that pictures are brought to, in pixels
    image_mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    image_std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    hidden_size: int = 1024
    # kind: clip
    patch_size: int = 14
    num_layers: int = 24
    num_heads: int = 16
    ffn_size: int = 4096
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"
    layer_norm_eps: float = 1e-5
    channels: tuple[int, ...] = ()  # kind: conv; width of each stage
    stem_stride: int = 2  # kind: conv; the first stage shrinks the picture by this, every other one by 2
    blocks: int = 1  # kind: conv; residual convolutions of each stage; the last layer is one more
    norm: Literal["group", "batch"] = "group"  # kind: conv


@dataclass(frozen=True)
class ResamplerConfig:
    """Image features [positions, C] to a fixed number of embeddings (paper 2.2; form from Kosmos-2's code)."""

    __pydantic_config__ = STRICT

    kind: Literal["cross_attention", "perceiver"] = "cross_attention"
    num_latents: int = 64
    num_heads: int = 32
    attention_dropout: float = 0.1
    num_layers: int = 6  # kind: perceiver
    # A folder of `kosmos train-vision`, whose resampler learned with the tower; None: random.
    pretrained: str | None = None


@dataclass(frozen=True)
class ModelConfig:
    """The whole model. `vision: null` builds the language-only baseline."""

    __pydantic_config__ = STRICT

    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    vision: VisionConfig | None = field(default_factory=VisionConfig)
    resampler: ResamplerConfig = field(default_factory=ResamplerConfig)
    # Further modalities registered by `kosmos.modality.register_modality`, by name.
    extra_modalities: tuple[str, ...] = ()
    # The precision it was trained in; the trainer records it.
    trained_precision: Precision | None = None


@dataclass(frozen=True)
class CorpusConfig:
    """One corpus of a source: which reader, where, and its weight within the source."""

    __pydantic_config__ = STRICT

    reader: str
    path: str  # a file, a folder or a pattern; local, or any address that fsspec knows
    weight: float = 1.0
    field: str = ""  # the column or key of the text or caption, where it is not the reader's usual one


@dataclass(frozen=True)
class SourceConfig:
    """One source of the mixture (text, pairs, interleaved): its rows in every optimizer step.

    `document_mask`: documents of one row do not see each other (pairs). `leading_start`: every document starts with
    `<s>` (pairs, interleaved); otherwise only the row does (text: full-sentence packing).
    """

    __pydantic_config__ = STRICT

    rows_per_step: int
    micro_batch_rows: int
    row_length: int
    corpora: tuple[CorpusConfig, ...]
    document_mask: bool = False
    leading_start: bool = True
    # What the corpora's weights share out: tokens (Table 20, image slots count), or documents.
    weigh_by: Literal["tokens", "documents"] = "tokens"
    # Rows without `leading_start`: whole lines and sentences (the paper's), or cut wherever the row is full.
    packing: Literal["full_sentence", "stream"] = "full_sentence"
    # Documents that wait to fill each row well. None: data.look_ahead.
    look_ahead: int | None = None


@dataclass(frozen=True)
class DataConfig:
    """The mixture: `sources` maps a source's name to its composition in each step."""

    __pydantic_config__ = STRICT

    sources: dict[str, SourceConfig] = field(default_factory=dict)
    # Folder or address in which relative paths (corpora's, and the tokenizer's) lie; `$NAME`: from the environment.
    root: str = ""  # empty: the working directory
    # Documents that wait to fill a row well, for each row of a step. None: 16 where documents are masked (they are
    # short), 48 elsewhere; that keeps padding below 1.5 %.
    look_ahead: int | None = None
    # Records are shuffled within windows of this many, and the shards before: disks like to read in order.
    shuffle_window: int = 16_384
    max_bad_fraction: float = 0.01
    workers: int = 0  # processes that make rows ahead of the steps; 0: they are made between the steps


@dataclass(frozen=True)
class ValidationConfig:
    """Loss on held-out rows, by source: the same rows each time, without dropout, on any number of ranks."""

    __pydantic_config__ = STRICT

    every: int = 0  # steps between two validations; the last step has one too. 0: none
    batches: int = 4  # so many times `rows_per_step` rows of each source
    sources: dict[str, SourceConfig] = field(default_factory=dict)  # as data.sources, of shards that are held out


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with linear warm-up and linear decay to 0 at the last step (paper 3.2; eps and clip from Kosmos-2)."""

    __pydantic_config__ = STRICT

    lr: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    weight_decay: float = 0.01
    warmup_steps: int = 375
    clip_norm: float = 2.0
    # The encoders' share of lr (paper: the same for all); a resampler that is pretrained wants less.
    encoder_lr_scale: float = 1.0


@dataclass(frozen=True)
class ParallelConfig:
    """How a step is laid out on ranks and in memory. Only `gather` changes a result, in its last digits."""

    __pydantic_config__ = STRICT

    replicas: int = 1  # copies of the model; each is sharded over ranks / replicas (mesh dp_replicate x dp_shard)
    gather: Literal["fp32", "bf16"] = "fp32"  # weights travel between ranks so; gradients always in fp32
    # Gradients are summed over ranks after each micro-batch (less memory), or once a step (less traffic).
    reduce: Literal["micro_batch", "step"] = "step"
    # Activations kept for the backward pass: all; those of matrix products and attention; none but the blocks' inputs.
    activation_checkpointing: Literal["none", "selective", "full"] = "none"
    compile: bool = False  # torch.compile each block


@dataclass(frozen=True)
class TrainConfig:
    """A training recipe: `kosmos train CONFIG --out DIR`."""

    __pydantic_config__ = STRICT

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    # A SentencePiece model file (`kosmos tokenizer train`, or the family's); empty: that of `start_from`.
    tokenizer: str = ""
    # A run, a step or a model folder whose weights to begin with, instead of new ones; the optimizer begins anew.
    start_from: str = ""
    steps: int = 300_000  # optimizer steps
    seed: int = 1
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 where the hardware multiplies it natively
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: the GPU where there is one
    # On a GPU: two runs are equal to the bit, for a part of the speed. On a CPU they always are.
    deterministic: bool = False
    threads: int = 0  # CPU threads; 0: what OMP_NUM_THREADS says, or one per core
    log_every: int = 10  # steps between two lines of progress
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    # Metrics go there too, beside metrics.jsonl (pip install 'kosmos[track]').
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    checkpoint_every: int = 1000  # steps between two checkpoints
    keep_checkpoints: int = 2  # so many of the newest stay
    keep_every: int = 0  # and every checkpoint whose step this divides; 0: none
    asynchronous_checkpoints: bool = False  # written behind the training, from a copy in the CPU's memory
    # A step whose loss or gradient is infinite or NaN: stop, leave it out, or go back N steps and pass over the data.
    on_nonfinite: str = "stop"  # stop | skip | rewind:N
    random_vision: bool = False  # allow a frozen vision tower with random weights


@dataclass(frozen=True)
class VisionPretrainingConfig:
    """Contrastive pretraining of a small vision tower on picture-caption pairs, as CLIP is (`kosmos train-vision`).

    Filters learn with Muon at `matrix_lr`, everything else with AdamW at `lr`; both decay to 0.
    """

    __pydantic_config__ = STRICT

    vision: VisionConfig = field(default_factory=lambda: VisionConfig(kind="conv", trainable="all"))
    # The resampler learns along; `hidden_size` is the decoder's, to which it brings the features.
    resampler: ResamplerConfig = field(
        default_factory=lambda: ResamplerConfig(num_latents=4, num_heads=6, attention_dropout=0.0)
    )
    hidden_size: int = 192
    # What is learned from: a picture corpus by name and the number of pictures taken from it, and its share.
    corpora: tuple[PictureCorpusConfig, ...] = ()
    tokenizer: str = ""
    steps: int = 1000
    batch_size: int = 256
    matrix_lr: float = 0.05
    lr: float = 0.02
    weight_decay: float = 0.02
    warmup_steps: int = 50
    label_smoothing: float = 0.1
    embedding_size: int = 192
    seed: int = 1
    threads: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    log_every: int = 10


@dataclass(frozen=True)
class PictureCorpusConfig:
    """Pictures for vision pretraining, and their share of each batch: a world by its name, or files of one's own."""

    __pydantic_config__ = STRICT

    name: str = ""  # drawings, or a world of the picture book
    share: float = 1.0
    pictures: int = 0  # 0: all there are
    reader: str = ""  # instead of a name: how pictures with captions are read, as pairs_tar,
    path: str = ""  # and where they lie


@dataclass(frozen=True)
class DemoConfig:
    """`kosmos demo`: tokenizer, vision pretraining, training and evaluation of the picture book in one recipe.

    `train.tokenizer`, `vision.tokenizer` and `train.model.vision.pretrained` are filled in by the demo itself.
    """

    __pydantic_config__ = STRICT

    vision: VisionPretrainingConfig = field(default_factory=VisionPretrainingConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    pieces: int = 1500  # size of the SentencePiece vocabulary
    items: int = 0  # test items of each task; 0: all
    precision: Precision = "fp32"  # of the evaluation


def replace(config: Any, **changes: Any) -> Any:
    """`dataclasses.replace` with dotted keys: `replace(c, **{"decoder.num_layers": 2})`."""
    direct = {key: value for key, value in changes.items() if "." not in key}
    nested: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        if "." in key:
            head, tail = key.split(".", 1)
            nested.setdefault(head, {})[tail] = value
    for head, inner in nested.items():
        direct[head] = replace(direct.get(head, getattr(config, head)), **inner)
    return dataclasses.replace(config, **direct)
