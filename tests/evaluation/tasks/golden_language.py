"""What the language tasks must say, typed by hand: the first test example of each made-up dataset, no demonstrations.

A prompt is written as (context, candidates) or, for partial scoring, as (contexts, answer).
"""

from __future__ import annotations

from dataclasses import dataclass

from kosmos.document import Text
from kosmos.evaluation.benchmark import Benchmark, Prompt
from kosmos.example import Example


@dataclass(frozen=True)
class Golden:
    """One prompt of one benchmark. Empty `contexts`: one context and its candidates."""

    candidates: tuple[str, ...]
    right: str
    context: str = ""
    contexts: tuple[str, ...] = ()
    normalization: str = "per_token"
    separator: str = "</s>"


COLORS = (
    " black", " blue", " brown", " green", " grey", " orange", " pink", " purple", " red", " white", " yellow"
)  # fmt: skip

GOLDEN: dict[tuple[str, str], Golden] = {
    ("story_cloze", "lmops"): Golden(
        context="Tom wanted a bicycle. He washed cars for money. He counted his coins. There were enough.",
        candidates=(" He stayed poor.", " He went to the bicycle shop."),
        right=" He went to the bicycle shop.",
    ),
    ("story_cloze", "lm_eval"): Golden(
        context="Tom wanted a bicycle. He washed cars for money. He counted his coins. There were enough.",
        candidates=(" He stayed poor.", " He went to the bicycle shop."),
        right=" He went to the bicycle shop.",
        normalization="sum",
        separator="\n\n",
    ),
    ("hellaswag", "lmops"): Golden(
        context="Flour stands on a table. the cook",
        candidates=(" leaves.", " drinks it.", " adds two eggs.", " drives off."),
        right=" adds two eggs.",
    ),
    ("hellaswag", "lm_eval"): Golden(
        context="Baking: Flour stands on a table. The cook",
        candidates=(" leaves.", " drinks it.", " adds two eggs.", " drives off."),
        right=" adds two eggs.",
        normalization="per_character",
        separator="\n\n",
    ),
    ("winograd", "lmops"): Golden(
        contexts=(
            "The cup did not fit into the box because The cup",
            "The cup did not fit into the box because the box",
        ),
        candidates=(),
        right=" was too wide.",
    ),
    ("winograd", "lm_eval"): Golden(
        contexts=(
            "The cup did not fit into the box because the cup",
            "The cup did not fit into the box because the box",
        ),
        candidates=(),
        right="  was too wide.",
        normalization="sum",
        separator="\n\n",
    ),
    ("winogrande", "lmops"): Golden(
        contexts=("Lea beat Ruth at chess since Lea", "Lea beat Ruth at chess since Ruth"),
        candidates=(),
        right=" was half asleep.",
    ),
    ("winogrande", "lm_eval"): Golden(
        contexts=("Lea beat Ruth at chess since Lea", "Lea beat Ruth at chess since Ruth"),
        candidates=(),
        right=" was half asleep.",
        normalization="sum",
        separator="\n\n",
    ),
    ("piqa", "lmops"): Golden(
        context="find a lost key",
        candidates=(" Buy a new door.", " Look in your pockets."),
        right=" Look in your pockets.",
    ),
    ("piqa", "lm_eval"): Golden(
        context="Question: find a lost key\nAnswer:",
        candidates=(" Buy a new door.", " Look in your pockets."),
        right=" Look in your pockets.",
        normalization="sum",
        separator="\n\n",
    ),
    ("boolq", "lmops"): Golden(
        context="Passage: Well -- A well is dug to reach water under the ground. "
        "Question: do you find water in a well? Answer:",
        candidates=(" No", " Yes"),
        right=" Yes",
    ),
    ("boolq", "lm_eval"): Golden(
        context="Well -- A well is dug to reach water under the ground.\n"
        "Question: do you find water in a well?\nAnswer:",
        candidates=(" no", " yes"),
        right=" yes",
        normalization="sum",
        separator="\n\n",
    ),
    ("cb", "lmops"): Golden(
        context="It is not true that the bridge is new. Question: the bridge is new. True, False, or Neither? Answer:",
        candidates=(" True", " False", " Neither"),
        right=" False",
    ),
    ("cb", "lm_eval"): Golden(
        context="It is not true that the bridge is new.\n"
        "Question: the bridge is new. True, False, or Neither?\nAnswer:",
        candidates=(" True", " False", " Neither"),
        right=" False",
        normalization="sum",
        separator="\n\n",
    ),
    ("copa", "lmops"): Golden(
        context="The baby cried because",
        candidates=(" he slept.", " he was hungry."),
        right=" he was hungry.",
    ),
    ("copa", "lm_eval"): Golden(
        context="The baby cried because",
        candidates=("  he slept.", "  he was hungry."),
        right="  he was hungry.",
        normalization="sum",
        separator="\n\n",
    ),
    ("relative_size", "paper"): Golden(context="Is barn larger than mouse?", candidates=(" Yes", " No"), right=" Yes"),
    ("relative_size", "reversed"): Golden(
        context="Is mouse larger than barn?", candidates=(" No", " Yes"), right=" No"
    ),
    ("relative_size", "valm.1"): Golden(context="Is barn bigger than mouse?", candidates=(" Yes", " No"), right=" Yes"),
    ("relative_size", "valm.2"): Golden(context="Is barn larger than mouse?", candidates=(" Yes", " No"), right=" Yes"),
    ("relative_size", "valm.3"): Golden(context="Is barn taller than mouse?", candidates=(" Yes", " No"), right=" Yes"),
    ("relative_size", "valm.4"): Golden(
        context="barn is bigger than mouse, is it true?", candidates=(" Yes", " No"), right=" Yes"
    ),
    ("relative_size", "valm.5"): Golden(
        context="barn is larger than mouse, is it true?", candidates=(" Yes", " No"), right=" Yes"
    ),
    ("relative_size", "valm.6"): Golden(
        context="barn is taller than mouse, is it true?", candidates=(" Yes", " No"), right=" Yes"
    ),
    ("memory_color", "paper"): Golden(context="The color of a cucumber is?", candidates=COLORS, right=" green"),
    ("color_terms", "paper"): Golden(context="The color of coal is?", candidates=COLORS, right=" black"),
}
for _name, _object, _right in [("memory_color", "a cucumber", " green"), ("color_terms", "coal", " black")]:
    for _number, _context in enumerate(
        [
            f"Q: What is the color of {_object}? A: It is",
            f"What is the color of {_object}? It is",
            f"What is the usual color of {_object}?",
            f"What is the typical color of {_object}?",
            f"The color of {_object} is",
            f"The usual color of {_object} is",
            f"The common color of {_object} is",
            f"The typical color of {_object} is",
            f"{_object} usually has the color of",
        ],
        start=1,
    ):
        GOLDEN[_name, f"valm.{_number}"] = Golden(context=_context, candidates=COLORS, right=_right)


@dataclass(frozen=True)
class Protocol:
    """What Table 1 and section 4 fix for a dataset."""

    mode: str
    split: str
    shots: tuple[int, ...]
    demonstrations: str | None
    num_examples: int
    metrics: tuple[str, ...]
    figures: tuple[float, ...]  # of KOSMOS-1, by shots
    table: str


PROTOCOL: dict[str, Protocol] = {
    "story_cloze": Protocol(
        "choice", "test", (0, 1, 4), "validation", 1871, ("accuracy",), (72.1, 72.2, 72.3), "Table 13"
    ),
    "hellaswag": Protocol(
        "choice", "validation", (0, 1, 4), "train", 10042, ("accuracy",), (50.0, 50.0, 50.3), "Table 13"
    ),
    "winograd": Protocol("partial", "test", (0, 1, 4), "test", 285, ("accuracy",), (69.8, 68.4, 69.8), "Table 13"),
    "winogrande": Protocol(
        "partial", "validation", (0, 1, 4), "train", 1267, ("accuracy",), (54.8, 54.5, 55.7), "Table 13"
    ),
    "piqa": Protocol("choice", "validation", (0, 1, 4), "train", 1838, ("accuracy",), (72.9, 72.5, 72.3), "Table 13"),
    "boolq": Protocol("choice", "validation", (0, 1, 4), "train", 3270, ("accuracy",), (56.4, 57.2, 59.2), "Table 13"),
    "cb": Protocol(
        "choice", "validation", (0, 1, 4), "train", 56, ("accuracy", "f1_macro"), (44.6, 48.2, 53.6), "Table 13"
    ),
    "copa": Protocol("choice", "validation", (0, 1, 4), "train", 100, ("accuracy",), (63.0, 64.0, 64.0), "Table 13"),
    "relative_size": Protocol("choice", "test", (0,), None, 486, ("accuracy",), (94.2,), "Table 16"),
    "memory_color": Protocol("choice", "test", (0,), None, 109, ("accuracy",), (76.1,), "Table 16"),
    "color_terms": Protocol("choice", "test", (0,), None, 52, ("accuracy",), (73.1,), "Table 16"),
}


def assert_golden(benchmark: Benchmark, prompt: Prompt, example: Example) -> None:
    """The rendered segments of one prompt are those typed above, none of them supervised."""
    golden = GOLDEN[benchmark.name, prompt.name]
    if golden.contexts:
        assert prompt.contexts is not None
        documents = list(prompt.contexts(example))
        assert tuple(document.text for document in documents) == golden.contexts
        assert prompt.context(example) == documents[example.fields["label"]]
    else:
        assert prompt.candidates is not None
        documents = [prompt.context(example)]
        assert documents[0].text == golden.context
        assert tuple(prompt.candidates(example)) == golden.candidates
        assert prompt.candidates(example)[example.fields["label"]] == golden.right
    for document in documents:
        assert [type(segment) for segment in document] == [Text]
        assert not any(segment.supervised for segment in document)
    assert prompt.answer(example) == golden.right
    assert (prompt.normalization, prompt.separator, prompt.stop) == (golden.normalization, golden.separator, ())
