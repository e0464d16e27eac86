"""The datasets of the paper's Table 1, in its order, and how one is found by its name."""

from __future__ import annotations

from kosmos.errors import UsageError, nearest
from kosmos.evaluation.benchmark import Benchmark, Prompt
from kosmos.evaluation.tasks import (
    boolq,
    cb,
    coco_caption,
    color_terms,
    copa,
    cub,
    flickr30k,
    hateful_memes,
    hellaswag,
    imagenet,
    iq50,
    memory_color,
    piqa,
    relative_size,
    rendered_sst2,
    story_cloze,
    vizwiz,
    vqav2,
    websrc,
    winograd,
    winogrande,
)

TABLE1: tuple[Benchmark, ...] = (
    # Language
    story_cloze.BENCHMARK,
    hellaswag.BENCHMARK,
    winograd.BENCHMARK,
    winogrande.BENCHMARK,
    piqa.BENCHMARK,
    boolq.BENCHMARK,
    cb.BENCHMARK,
    copa.BENCHMARK,
    # Reading without OCR
    rendered_sst2.BENCHMARK,
    hateful_memes.BENCHMARK,
    # Cross-modal transfer
    relative_size.BENCHMARK,
    memory_color.BENCHMARK,
    color_terms.BENCHMARK,
    # Nonverbal reasoning
    iq50.BENCHMARK,
    # Captioning, question answering
    coco_caption.BENCHMARK,
    flickr30k.BENCHMARK,
    vqav2.BENCHMARK,
    vizwiz.BENCHMARK,
    websrc.BENCHMARK,
    # Classification
    imagenet.BENCHMARK,
    cub.BENCHMARK,
)
# Not rows of Table 1: other forms of one of its datasets, by a name of their own.
VARIANTS: tuple[Benchmark, ...] = (
    winograd.WINOGRAD_273,
    vqav2.VQAV2_TEST,
    vizwiz.VIZWIZ_TEST,
    websrc.WEBSRC_TEST,
)

BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in (*TABLE1, *VARIANTS)}


def get_benchmark(name: str) -> Benchmark:
    """The benchmark of that name. Raises UsageError for an unknown one, with the nearest name."""
    if name not in BENCHMARKS:
        known = ", ".join(BENCHMARKS)
        raise UsageError(f"no benchmark '{name}'{nearest(name, BENCHMARKS)}; there are: {known}")
    return BENCHMARKS[name]


def select_benchmarks(text: str) -> list[Benchmark]:
    """Benchmarks by comma-separated names: of a dataset, of a group (language, vqa, ...), or `table1` for all 21.

    Each once, in the order asked. Raises UsageError for an unknown name.
    """
    groups: dict[str, list[Benchmark]] = {"table1": list(TABLE1)}
    for benchmark in TABLE1:
        groups.setdefault(benchmark.group, []).append(benchmark)
    chosen: dict[str, Benchmark] = {}
    for name in text.split(","):
        if name not in groups and name not in BENCHMARKS:
            known = ", ".join([*groups, *BENCHMARKS])
            near = nearest(name, [*groups, *BENCHMARKS])
            raise UsageError(f"no dataset or group '{name}'{near}; there are: {known}")
        for benchmark in groups.get(name) or [BENCHMARKS[name]]:
            chosen.setdefault(benchmark.name, benchmark)
    return list(chosen.values())


def prompts_named(benchmark: Benchmark, name: str) -> tuple[Prompt, ...]:
    """The prompts that a name stands for: its own, or all that begin with it and a point (`valm`: valm.1, valm.2, ...).

    A score of several prompts is the mean of their scores. Raises UsageError for an unknown name.
    """
    numbered = tuple(prompt for prompt in benchmark.prompts if name and prompt.name.startswith(f"{name}."))
    return numbered or (benchmark.prompt(name),)
