"""What the page pipeline keeps and how much it may spend. Thresholds of the paper are marked; the others are ours."""

from __future__ import annotations

from dataclasses import dataclass, field

from kosmos.data.fetch.settings import FetchSettings
from kosmos.errors import ConfigError


@dataclass(frozen=True)
class TextRules:
    """When a page's text is too little, spam or gibberish. The paper names the kinds, the numbers are ours or Gopher's.

    min_words               of the main text
    max_damaged             share of characters that are replacements of undecodable bytes, or control characters
    max_emoji, max_hashtags, max_links    of each, per word
    min_word_length, max_word_length      mean letters of a word (Gopher)
    min_wordlike            share of words with a letter in them
    min_function_words      different ones of the commonest English words, as the, of, is (Gopher, with a longer list)
    max_repeated_lines      share of lines that stood there before (Gopher)
    max_repeated_runs       share of runs of ten words that stood there before
    max_unpronounceable     share of words of four letters or more without a vowel or with seven consonants in a row
    """

    min_words: int = 20
    max_damaged: float = 0.01
    max_emoji: float = 0.05
    max_hashtags: float = 0.05
    max_links: float = 0.05
    min_word_length: float = 3.0
    max_word_length: float = 10.0
    min_wordlike: float = 0.7
    min_function_words: int = 2
    max_repeated_lines: float = 0.3
    max_repeated_runs: float = 0.3
    max_unpronounceable: float = 0.15


@dataclass(frozen=True)
class PictureRules:
    """Which pictures stay in a document. The first four are the paper's.

    min_side            pixels of the shorter side
    max_colour_range    a picture whose channels all vary less is single-coloured (JPEG noise allowed for)
    max_pictures        of a document; the first ones are kept
    keep_one_picture    share of the documents with one picture that is kept
    """

    min_side: int = 64
    max_colour_range: int = 8
    max_pictures: int = 5
    keep_one_picture: float = 0.5
    max_bytes: int = 10 << 20
    max_megapixels: float = 16.0


@dataclass(frozen=True)
class DuplicateRules:
    """Near-duplicates: MinHash of runs of `shingle` words in `bands` of `rows`, then `similarity` of signatures."""

    shingle: int = 5
    bands: int = 14
    rows: int = 8
    similarity: float = 0.75
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.shingle, self.bands, self.rows) < 1:
            raise ConfigError("shingle, bands and rows must be at least 1")
        if not 0 < self.similarity <= 1:
            raise ConfigError(f"similarity: must be in (0, 1], not {self.similarity}")


@dataclass(frozen=True)
class OverlapRules:
    """Overlap with evaluation data: one run of `words` words in common, or a whole shorter item of `min_words`."""

    words: int = 13
    min_words: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.min_words <= self.words:
            raise ConfigError(f"min_words must be in 1..{self.words}, not {self.min_words}")


@dataclass(frozen=True)
class PageLimits:
    """What one page may cost. CPU seconds and memory are those of a process of its own, which is killed beyond them."""

    max_bytes: int = 4 << 20
    cpu_seconds: float = 10.0
    memory_bytes: int = 2 << 30


@dataclass(frozen=True)
class PagesSettings:
    """Everything that decides what comes out of a page pipeline.

    web_pictures    fetch pictures from the web (always for WARC files; for folders of HTML when asked)
    against         files of evaluation data; documents that overlap them are removed
    """

    language: str = "en"
    text: TextRules = field(default_factory=TextRules)
    pictures: PictureRules = field(default_factory=PictureRules)
    duplicates: DuplicateRules = field(default_factory=DuplicateRules)
    overlap: OverlapRules = field(default_factory=OverlapRules)
    limits: PageLimits = field(default_factory=PageLimits)
    fetch: FetchSettings = field(default_factory=FetchSettings)
    web_pictures: bool = False
    against: tuple[str, ...] = ()
    seed: int = 1
    shard_records: int = 10_000
    shard_bytes: int = 1 << 30
