"""What a step will hold before any of it is read: tokens, pictures and supervised tokens of each source."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kosmos.config import CorpusConfig, DataConfig, ModelConfig, SourceConfig, TrainConfig

# A caption with its `</s>`. `<s>`, `<image>`, 64 slots, `</image>` and it are 87, so 23.5 pairs to a row of 2,048.
CAPTION_TOKENS = 20
# Text between the pictures of an interleaved document: 2.6 pictures to a row of 2,048.
TEXT_PER_PICTURE = 720
_PAIRS = ("pairs_tar", "pairs_parquet")
_INTERLEAVED = ("interleaved_tar",)
# So many rows of each source are made to see what is in them.
_ROWS_TO_MEASURE = 8


@dataclass(frozen=True)
class Expected:
    """One source in one step. `tokens` are all slots of the rows; `measured`: from real rows, otherwise assumed."""

    rows: int
    row_length: int
    images: float
    supervised: float
    measured: bool = False

    @property
    def tokens(self) -> int:
        return self.rows * self.row_length

    def share(self, rows: int) -> Expected:
        """What `rows` of the rows hold."""
        part = rows / self.rows
        return replace(self, rows=rows, images=self.images * part, supervised=self.supervised * part)


def expected_step(config: TrainConfig, images: float | None = None) -> dict[str, Expected]:
    """By source, assumed from the readers; `images`: so many pictures in all, shared out as they are assumed."""
    found = {name: _assumed(source, config.model) for name, source in config.data.sources.items()}
    assumed = sum(source.images for source in found.values())
    if images is None or not assumed:
        return found
    return {name: replace(source, images=source.images * images / assumed) for name, source in found.items()}


def measured_step(config: TrainConfig) -> dict[str, Expected]:
    """By source, from the first rows that the recipe makes. Raises what opening the tokenizer and the data raises."""
    from kosmos.data.stream import build_stream
    from kosmos.processor import Processor
    from kosmos.training.start import start_tokenizer

    processor = Processor(start_tokenizer(config), config.model)
    stream = build_stream(_few_rows(config.data), processor, config.seed)
    counts = next(stream).counts
    stream.close()
    found = {}
    for name, source in config.data.sources.items():
        factor = source.rows_per_step / counts[name].rows
        found[name] = Expected(
            source.rows_per_step,
            source.row_length,
            counts[name].images * factor,
            counts[name].supervised_tokens * factor,
            measured=True,
        )
    return found


def _few_rows(data: DataConfig) -> DataConfig:
    few = {
        name: replace(source, rows_per_step=min(source.rows_per_step, _ROWS_TO_MEASURE), micro_batch_rows=1)
        for name, source in data.sources.items()
    }
    return replace(data, sources=few)


def _assumed(source: SourceConfig, model: ModelConfig) -> Expected:
    total = sum(corpus.weight for corpus in source.corpora)
    images = supervised = 0.0
    for corpus in source.corpora:
        per_token, share = _of_a_token(corpus, model)
        images += per_token * corpus.weight / total
        supervised += share * corpus.weight / total
    tokens = source.rows_per_step * source.row_length
    return Expected(source.rows_per_step, source.row_length, images * tokens, supervised * tokens)


def _of_a_token(corpus: CorpusConfig, model: ModelConfig) -> tuple[float, float]:
    """(pictures, supervised tokens) to each token of a corpus."""
    if model.vision is None or not _has_pictures(corpus.reader):
        return 0.0, 1.0
    slots = model.resampler.num_latents + 2
    if corpus.reader in _INTERLEAVED:
        return 1 / (slots + TEXT_PER_PICTURE), TEXT_PER_PICTURE / (slots + TEXT_PER_PICTURE)
    length = 1 + slots + CAPTION_TOKENS
    return 1 / length, CAPTION_TOKENS / length


def _has_pictures(reader: str) -> bool:
    return reader in (*_PAIRS, *_INTERLEAVED) or reader.startswith("picturebook.")
