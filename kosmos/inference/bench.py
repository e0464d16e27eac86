"""How fast an engine is, and how fast it could be: `kosmos bench infer`.

A decode step reads all weights once and the keys and values of every row, so memory sets its limit:

    ceiling in tokens/s = rows * bandwidth / (weight bytes + rows * context * KV bytes per token)

with the context half-way through the answer. Reading a prompt is limited by the matrix products; its MFU is

    (2 * weights * tokens + attention + head of the last token) / (seconds * measured peak of matrix products)

Times are medians of repeated runs. The tokenizer is part of the time to the first token and of nothing else.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from kosmos.config import DecoderConfig, ModelConfig
from kosmos.document import Document
from kosmos.errors import UsageError
from kosmos.inference.effect import Effect, effect_on_scores
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from kosmos.inference.prefix import Prefix
from kosmos.machine import measured_bandwidth, measured_peak, synchronize
from kosmos.model import weights
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer

_WORDS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "a",
    "red",
    "house",
    "and",
    "the",
    "green",
    "tree",
    "of",
    "an",
    "old",
    "man",
]
_EFFECT_PROMPTS = 4
_EFFECT_TOKENS = 16


@dataclass(frozen=True)
class Card:
    """What is known before anything is decoded; sizes in bytes, rates a second."""

    device: str
    threads: int
    precision: str
    quantization: str | None
    parameters: int
    weight_bytes: int  # read by one decode step
    kv_bytes_per_token: int
    bandwidth: float
    matmul_peak: float

    def ceiling(self, rows: int, context: float) -> float:
        """Tokens a second that the bandwidth allows."""
        return rows * self.bandwidth / (self.weight_bytes + rows * context * self.kv_bytes_per_token)


@dataclass(frozen=True)
class DecodeSpeed:
    """Greedy decoding of so many rows together."""

    batch_size: int
    tokens_per_second: float
    ceiling: float

    @property
    def fraction(self) -> float:
        return self.tokens_per_second / self.ceiling


@dataclass(frozen=True)
class Speeds:
    """What was measured; times in seconds."""

    prompt_tokens: int
    new_tokens: int
    prefill_seconds: float
    prefill_mfu: float
    first_token_seconds: float
    decode: tuple[DecodeSpeed, ...]


def shaped(config: ModelConfig, layers: int = 0, width: int = 0, vocabulary: int = 0) -> ModelConfig:
    """The text part of a configuration, with another shape where it is given; the inner width follows the outer one."""
    decoder = config.decoder
    if width:
        heads = max(1, width // min(64, max(2, width // 4)))
        decoder = replace(decoder, hidden_size=width, ffn_size=4 * width, num_heads=heads)
    decoder = replace(decoder, num_layers=layers or decoder.num_layers, vocab_size=vocabulary or decoder.vocab_size)
    return replace(config, decoder=decoder, vision=None, extra_modalities=())


def random_model(config: ModelConfig, dtype: torch.dtype, device: torch.device) -> Kosmos:
    """A model of random weights of this type, made in place: no more memory than the weights themselves."""
    model = weights.without_values(Kosmos, config).to(dtype).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.fill_(1.0)
                module.bias.zero_()
            elif isinstance(module, nn.Linear | nn.Embedding):
                size = module.weight.shape[1] ** -0.5
                module.weight.uniform_(-size, size, generator=generator)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    module.bias.zero_()
    return model.eval()


def small_processor(config: ModelConfig) -> Processor:
    """A processor for models without a tokenizer of their own. Its vocabulary is part of the model's."""
    with tempfile.TemporaryDirectory() as folder:
        texts = [" ".join(_WORDS[i:] + _WORDS[:i]) for i in range(len(_WORDS))]
        made = Tokenizer.train(texts, Path(folder) / "bench.model", vocab_size=200, hard_vocab_limit=False)
    return Processor(made, config)


def card(engine: Engine, seconds: float = 0.5) -> Card:
    """The static figures of an engine, and its machine measured for `seconds` each."""
    config, device = engine.model.config.decoder, engine.device
    stored = engine.packed.dtype.itemsize
    per_weight = 1 if engine.quantization == "int8" else stored
    weight_bytes = (layer_weights(config) + config.vocab_size * config.hidden_size) * per_weight
    return Card(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        precision=engine.precision,
        quantization=engine.quantization,
        parameters=sum(parameter.numel() for parameter in engine.model.parameters()),
        weight_bytes=weight_bytes,
        kv_bytes_per_token=2 * config.num_layers * config.hidden_size * stored,
        bandwidth=measured_bandwidth(device, weight_bytes, seconds),
        matmul_peak=measured_peak(device, engine.prefill_precision, seconds),
    )


def layer_weights(config: DecoderConfig) -> int:
    """Weights in the matrix products of the layers; biases, LayerNorms and the head aside."""
    return config.num_layers * (4 * config.hidden_size**2 + 2 * config.hidden_size * config.ffn_size)


def prefill_flops(config: DecoderConfig, num_tokens: int) -> float:
    """Operations of reading a prompt: products, the causal half of attention, the head at the last token."""
    attention = config.num_layers * 2.0 * num_tokens**2 * config.hidden_size
    head = 2.0 * config.hidden_size * config.vocab_size
    return 2.0 * layer_weights(config) * num_tokens + attention + head


def measure(
    engine: Engine, found: Card, batch_sizes: Sequence[int], prompt_tokens: int, new_tokens: int, repeats: int = 3
) -> Speeds:
    """Time prompts of about `prompt_tokens`, and greedy answers of `new_tokens` (at least 2) for each batch size."""
    document = prompt(engine, prompt_tokens)
    length = len(engine.encode(document))
    if length + new_tokens > engine.max_length:
        raise UsageError(
            f"a prompt of {length} tokens and {new_tokens} new ones exceed the model's {engine.max_length} positions; "
            "lower --prompt-tokens or --new-tokens"
        )

    def read() -> None:
        engine.prefill(document).free()

    prefill_seconds = _median(read, engine, repeats)
    first = _median(lambda: engine.generate([document], 1), engine, repeats)
    speeds = []
    for batch_size in batch_sizes:
        prefixes = [engine.prefill(document)]
        try:
            prefixes += [prefixes[0].fork() for _ in range(batch_size - 1)]
            seconds = _decode_seconds(engine, prefixes, new_tokens, repeats)
        finally:
            for prefix in prefixes:
                prefix.free()
        # The first token comes from the prompt's own logits.
        rate = batch_size * (new_tokens - 1) / seconds
        speeds.append(DecodeSpeed(batch_size, rate, found.ceiling(batch_size, length + new_tokens / 2)))
    return Speeds(
        prompt_tokens=length,
        new_tokens=new_tokens,
        prefill_seconds=prefill_seconds,
        prefill_mfu=prefill_flops(engine.model.config.decoder, length) / prefill_seconds / found.matmul_peak,
        first_token_seconds=first,
        decode=tuple(speeds),
    )


def effect(engine: Engine, plain: Engine) -> Effect:
    """What the engine's options change in its scores, over a few prompts of drawn tokens."""
    tokenizer = engine.processor.tokenizer
    generator = torch.Generator().manual_seed(0)
    documents = []
    for _ in range(_EFFECT_PROMPTS):
        ids = torch.randint(tokenizer.unk_id + 1, tokenizer.slot_id, (_EFFECT_TOKENS,), generator=generator)
        documents.append(Document(tokenizer.decode(ids.tolist())))
    return effect_on_scores(plain, engine, documents, _EFFECT_TOKENS)


def prompt(engine: Engine, num_tokens: int) -> Document:
    """A text of about so many tokens, at most."""
    words = [_WORDS[index % len(_WORDS)] for index in range(num_tokens)]
    while True:
        document = Document(" ".join(words))
        length = len(engine.processor.encode(document, start=True, end=False))
        if length <= num_tokens or len(words) == 1:
            return document
        words = words[: max(1, min(len(words) - 1, len(words) * num_tokens // length))]


def _decode_seconds(engine: Engine, prefixes: Sequence[Prefix], new_tokens: int, repeats: int) -> float:
    options = [Decoding(new_tokens, min_new_tokens=new_tokens)] * len(prefixes)
    return _median(lambda: engine.decode(prefixes, options), engine, repeats)


def _median(work: Callable[[], object], engine: Engine, repeats: int) -> float:
    """Seconds of the middle run, after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        synchronize(engine.device)
        start = time.perf_counter()
        work()
        synchronize(engine.device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
