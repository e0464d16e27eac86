"""The figures that the paper reports (arXiv 2302.14045), by table, row and column, and which a score answers to.

Per cent, CIDEr as printed. `None`: the paper has no figure there. Figures of pictures are of the model after
instruction tuning unless a row says otherwise; those of language (Table 13) are of the model before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kosmos.errors import UsageError

KOSMOS, LLM, BASE = "KOSMOS-1", "LLM", "KOSMOS-1 without instruction tuning"
# "base": before instruction tuning; "kosmos": as the paper's headline figures are
Model = Literal["kosmos", "base", "llm"]


@dataclass(frozen=True)
class PaperTable:
    """One table: a figure per row and column."""

    number: int
    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float | None, ...]]

    def figure(self, row: str, column: str) -> float | None:
        """Raises UsageError for a row or column that the table lacks."""
        if row not in self.rows or column not in self.columns:
            raise UsageError(f"the paper's Table {self.number} has no figure at row '{row}', column '{column}'")
        return self.rows[row][self.columns.index(column)]


_CAPTION_AND_VQA = ("COCO", "Flickr30k", "VQAv2", "VizWiz")
_LANGUAGE_COLUMNS = tuple(f"{model}, k={k}" for k in (0, 1, 4) for model in (LLM, KOSMOS))

TABLES: dict[int, PaperTable] = {
    table.number: table
    for table in (
        PaperTable(
            2,
            "Zero-shot captions (a star: two text demonstrations)",
            ("COCO CIDEr", "COCO SPICE", "Flickr30k CIDEr", "Flickr30k SPICE"),
            {
                "ZeroCap": (14.6, 5.5, None, None),
                "VLKD": (58.3, 13.4, None, None),
                "FewVLM": (None, None, 31.0, 10.0),
                "MetaLM": (82.2, 15.7, 43.4, 11.7),
                "Flamingo-3B*": (73.0, None, 60.6, None),
                "Flamingo-9B*": (79.4, None, 61.5, None),
                KOSMOS: (84.7, 16.8, 67.1, 14.5),
            },
        ),
        PaperTable(
            3,
            "Few-shot captions, CIDEr",
            tuple(f"{name}, k={k}" for name in ("COCO", "Flickr30k") for k in (2, 4, 8)),
            {
                "Flamingo-3B": (None, 85.0, 90.6, None, 72.0, 71.7),
                "Flamingo-9B": (None, 93.1, 99.0, None, 72.6, 73.4),
                KOSMOS: (99.6, 101.7, 96.7, 70.0, 75.3, 68.0),
            },
        ),
        PaperTable(
            4,
            "Zero-shot questions on pictures, VQA accuracy (a star: two text demonstrations)",
            ("VQAv2", "VizWiz"),
            {
                "Frozen": (29.5, None),
                "VLKD ViT-B/16": (38.6, None),
                "MetaLM": (41.1, None),
                "Flamingo-3B*": (49.2, 28.9),
                "Flamingo-9B*": (51.8, 28.8),
                KOSMOS: (51.0, 29.2),
            },
        ),
        PaperTable(
            5,
            "Few-shot questions on pictures, VQA accuracy",
            tuple(f"{name}, k={k}" for name in ("VQAv2", "VizWiz") for k in (2, 4, 8)),
            {
                "Frozen": (None, 38.2, None, None, None, None),
                "MetaLM": (None, 45.3, None, None, None, None),
                "Flamingo-3B": (None, 53.2, 55.4, None, 34.4, 38.4),
                "Flamingo-9B": (None, 56.3, 58.0, None, 34.9, 39.4),
                KOSMOS: (51.4, 51.8, 51.4, 31.4, 35.3, 39.0),
            },
        ),
        PaperTable(
            6, "Raven IQ test, accuracy", ("accuracy",), {"random choice": (17.0,), KOSMOS: (22.0,), BASE: (26.0,)}
        ),
        PaperTable(
            7,
            "Reading without OCR",
            ("HatefulMemes ROC AUC", "Rendered SST-2 accuracy"),
            {
                "CLIP ViT-B/32": (57.6, 59.6),
                "CLIP ViT-B/16": (61.7, 59.8),
                "CLIP ViT-L/14": (63.3, 64.0),
                "Flamingo-3B": (53.7, None),
                "Flamingo-9B": (57.0, None),
                KOSMOS: (63.9, 67.1),
            },
        ),
        PaperTable(
            8,
            "Questions on web pages (WebSRC)",
            ("with text EM", "with text F1", "without text EM", "without text F1"),
            {LLM: (7.6, 17.9, None, None), KOSMOS: (15.8, 31.3, 3.8, 10.6)},
        ),
        PaperTable(
            9,
            "Chain of thought on Rendered SST-2, accuracy",
            ("standard", "chain of thought"),
            {KOSMOS: (67.1, 72.9)},
        ),
        PaperTable(
            10,
            "ImageNet, top-1",
            ("without constraints", "with constraints"),
            {"GIT": (1.9, 33.5), KOSMOS: (4.0, 38.1)},
        ),
        PaperTable(
            12,
            "Birds by verbal descriptions, accuracy",
            ("without descriptions", "with descriptions"),
            {KOSMOS: (61.7, 90.0)},
        ),
        PaperTable(
            13,
            "Language tasks, accuracy (no instruction tuning)",
            _LANGUAGE_COLUMNS,
            {
                "StoryCloze": (72.9, 72.1, 72.9, 72.2, 73.1, 72.3),
                "HellaSwag": (50.4, 50.0, 50.2, 50.0, 50.4, 50.3),
                "Winograd": (71.6, 69.8, 71.2, 68.4, 70.9, 69.8),
                "Winogrande": (56.7, 54.8, 56.7, 54.5, 57.0, 55.7),
                "PIQA": (73.2, 72.9, 73.0, 72.5, 72.6, 72.3),
                "BoolQ": (56.4, 56.4, 55.1, 57.2, 58.7, 59.2),
                "CB": (39.3, 44.6, 41.1, 48.2, 42.9, 53.6),
                "COPA": (68.0, 63.0, 69.0, 64.0, 69.0, 64.0),
                "Average": (61.1, 60.5, 61.2, 60.9, 61.8, 62.2),
            },
        ),
        PaperTable(
            14,
            "With and without instruction tuning (CIDEr, VQA accuracy; zero-shot)",
            _CAPTION_AND_VQA,
            {KOSMOS: (84.7, 67.1, 51.0, 29.2), BASE: (87.6, 65.2, 46.7, 27.9)},
        ),
        PaperTable(
            16,
            "Sizes and colours by text alone, accuracy",
            ("RelativeSize", "MemoryColor", "ColorTerms"),
            {"VaLM": (85.0, 58.6, 52.7), LLM: (92.7, 61.4, 63.4), KOSMOS: (94.2, 76.1, 73.1)},
        ),
    )
}

_LANGUAGE = {
    "story_cloze": "StoryCloze",
    "hellaswag": "HellaSwag",
    "winograd": "Winograd",
    "winogrande": "Winogrande",
    "piqa": "PIQA",
    "boolq": "BoolQ",
    "cb": "CB",
    "copa": "COPA",
    "language": "Average",
}
# A name for the mean over the eight language tasks, where a benchmark's name stands.
AVERAGE = "language"
_TRANSFER = {"relative_size": "RelativeSize", "memory_color": "MemoryColor", "color_terms": "ColorTerms"}
_CAPTIONS = {"coco_caption": "COCO", "flickr30k": "Flickr30k"}
_VQA = {"vqav2": "VQAv2", "vizwiz": "VizWiz"}
# A prompt of the project that the paper has figures for, beside each benchmark's first: benchmark, prompt -> column.
CHAIN_OF_THOUGHT = ("rendered_sst2", "chain_of_thought")
WITHOUT_TEXT = ("websrc", "image_only")
TEXT_ONLY = ("websrc", "text_only")
WITHOUT_DESCRIPTIONS = ("cub", "without_descriptions")
KNOWN = frozenset(
    {
        *_LANGUAGE.keys() - {AVERAGE},
        *_TRANSFER,
        *_CAPTIONS,
        *_VQA,
        "rendered_sst2",
        "hateful_memes",
        "iq50",
        "websrc",
        "imagenet",
        "cub",
    }
)


@dataclass(frozen=True)
class Reported:
    """A figure of the paper and where it stands."""

    value: float
    table: int


def reported(
    benchmark: str,
    metric: str,
    *,
    shots: int = 0,
    prompt: str | None = None,
    held_to_names: bool = False,
    model: Model = "kosmos",
) -> Reported | None:
    """The paper's figure for a score, or None. `prompt`: None for the benchmark's first one."""
    place = _place(benchmark, metric, shots, (benchmark, prompt) if prompt else None, held_to_names, model)
    if place is None:
        return None
    number, row, column = place
    table = TABLES[number]
    if row not in table.rows or column not in table.columns:
        return None
    value = table.figure(row, column)
    return None if value is None else Reported(value, number)


def _place(
    benchmark: str, metric: str, shots: int, variant: tuple[str, str] | None, held_to_names: bool, model: Model
) -> tuple[int, str, str] | None:
    """Table, row and column."""
    row = LLM if model == "llm" else KOSMOS
    if variant is not None:
        if variant == CHAIN_OF_THOUGHT and metric == "accuracy":
            return 9, row, "chain of thought"
        if variant == WITHOUT_DESCRIPTIONS and metric == "category_name":
            return 12, row, "without descriptions"
        if variant == WITHOUT_TEXT and metric in _WEB:
            return 8, row, f"without text {_WEB[metric]}"
        if variant == TEXT_ONLY and metric in _WEB and model == "llm":
            return 8, row, f"with text {_WEB[metric]}"
        return None
    if metric == "accuracy" and benchmark in _LANGUAGE:
        return 13, _LANGUAGE[benchmark], f"{row}, k={shots}"
    if metric == "accuracy" and benchmark in _TRANSFER:
        return 16, row, _TRANSFER[benchmark]
    if (metric == "cider" and benchmark in _CAPTIONS) or (metric == "vqa_accuracy" and benchmark in _VQA):
        name = {**_CAPTIONS, **_VQA}[benchmark]
        if model == "base":
            return (14, BASE, name) if shots == 0 else None
        zero, few = (2, 3) if benchmark in _CAPTIONS else (4, 5)
        if shots == 0:
            return zero, row, f"{name} CIDEr" if benchmark in _CAPTIONS else name
        return few, row, f"{name}, k={shots}"
    if metric == "spice" and benchmark in _CAPTIONS and shots == 0:
        return 2, row, f"{_CAPTIONS[benchmark]} SPICE"
    if benchmark == "iq50" and metric == "accuracy":
        return 6, BASE if model == "base" else row, "accuracy"
    if benchmark == "hateful_memes" and metric == "roc_auc":
        return 7, row, "HatefulMemes ROC AUC"
    if benchmark == "rendered_sst2" and metric == "accuracy":
        return 7, row, "Rendered SST-2 accuracy"
    if benchmark == "websrc" and metric in _WEB and model != "llm":
        return 8, row, f"with text {_WEB[metric]}"
    if benchmark == "imagenet" and metric == "exact_name":
        return 10, row, "with constraints" if held_to_names else "without constraints"
    if benchmark == "cub" and metric == "category_name":
        return 12, row, "with descriptions"
    return None


_WEB = {"web_em": "EM", "web_f1": "F1"}
