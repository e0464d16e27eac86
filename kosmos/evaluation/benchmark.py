"""Benchmark: one dataset of the paper's Table 1, declared in one frozen dataclass (paper section 4).

A benchmark says where its examples come from, how each is put to the model, and which metrics its answers get. The
runner turns it into requests for the Engine; nothing else is needed to know a dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kosmos.document import Document
from kosmos.errors import UsageError, nearest
from kosmos.example import Example

# choice    one context, several candidate answers: the best log-likelihood
# partial   one answer behind several contexts (the options filled in): the best log-likelihood of that answer
# yes       several contexts, one per candidate picture: the best P(" Yes")
# generate  free text
# names     free text, once as it comes and once held to a list of names
Mode = Literal["choice", "partial", "yes", "generate", "names"]
# How candidates' log-probabilities are compared. All are recorded; this one decides.
Normalization = Literal["per_token", "sum", "per_character", "per_byte"]
Group = Literal["language", "transfer", "reasoning", "ocr_free", "captioning", "vqa", "web", "classification"]


@dataclass(frozen=True)
class Prompt:
    """How an example is put to the model, under a name of its own ("paper", "lm_eval", "valm", ...).

    context       Example -> Document, ending before the answer; no demonstrations, nothing supervised
    answer        Example -> the right answer as it follows the context, with the space before it: demonstrations are
                  context + answer
    candidates    mode choice: the possible answers, each with the space before it, in the order of the labels
    contexts      modes partial and yes: one Document per option, in the order of the labels
    separator     what stands between demonstrations: the end token (text), nothing (pictures, default), or a text
    stop          strings that end a generated answer, beside `</s>`
    cut           where the longest text of a prompt that does not fit loses words (counted, and said in the report)
    rationale     chain of thought: this prompt is continued first (greedy, at most 64 tokens), and its text is in
                  `fields["rationale"]` of the example that `context` then gets
    """

    name: str
    context: Callable[[Example], Document]
    answer: Callable[[Example], str]
    candidates: Callable[[Example], Sequence[str]] | None = None
    contexts: Callable[[Example], Sequence[Document]] | None = None
    normalization: Normalization = "per_token"
    separator: str = ""
    stop: tuple[str, ...] = ()
    rationale: Callable[[Example], Document] | None = None
    cut: Literal["start", "end"] = "start"
    note: str = ""


@dataclass(frozen=True)
class Source:
    """How the files are obtained, and how they must lie in the dataset's folder.

    files   globs relative to the dataset's folder of the official form; alternatives of the hub's form in `hub_files`
    how     one paragraph for people: where to get the files, which licence or form stands before them
    """

    url: str
    licence: str
    files: tuple[str, ...]
    hub: str = ""
    hub_files: tuple[str, ...] = ()
    gated: bool = False
    how: str = ""


@dataclass(frozen=True)
class Benchmark:
    """One dataset. `read(folder, split)` gives its examples in the order of the files, `Example.fields["label"]` (int,
    choice, partial and yes) or `Example.fields["answers"]` (list of str: accepted answers or references) being the
    gold, and `Example.cluster` what items share (picture, page).

    shots       numbers of demonstrations allowed; others are refused
    num_examples  split -> how many examples the official files have: another number is reported
    decoding    modes generate and names: the fields of `Decoding`
    names       mode names: the list the answer is held to
    folder      of the files, below the data folder (default: the name)
    beside      names of prompts that are always asked beside the default one, as a control
    chance      expected score of a blind guess, in the unit of the first metric (0 to 1, CIDEr as it is)
    paper       the paper's own figures of KOSMOS-1, in per cent (CIDEr as printed), by number of shots, by metric
    """

    name: str
    title: str
    group: Group
    mode: Mode
    read: Callable[[Path, str], list[Example]]
    split: str
    prompts: tuple[Prompt, ...]
    metrics: tuple[str, ...]
    source: Source
    shots: tuple[int, ...] = (0,)
    demonstration_split: str | None = None
    num_examples: Mapping[str, int] = field(default_factory=dict)
    decoding: Mapping[str, object] = field(default_factory=dict)
    names: Callable[[Path], list[str]] | None = None
    folder: str = ""
    beside: tuple[str, ...] = ()
    chance: float = 0.0
    paper: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    table: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not self.prompts:
            raise UsageError(f"benchmark {self.name}: it needs a prompt")
        for prompt in self.prompts:
            if self.mode == "choice" and prompt.candidates is None:
                raise UsageError(f"benchmark {self.name}, prompt {prompt.name}: mode choice needs `candidates`")
            if self.mode in ("partial", "yes") and prompt.contexts is None:
                raise UsageError(f"benchmark {self.name}, prompt {prompt.name}: mode {self.mode} needs `contexts`")
        if max(self.shots) > 0 and self.demonstration_split is None:
            raise UsageError(f"benchmark {self.name}: shots need a demonstration_split")

    def prompt(self, name: str = "") -> Prompt:
        """The prompt of that name, or the default. Raises UsageError for an unknown one."""
        by_name = {prompt.name: prompt for prompt in self.prompts}
        if name and name not in by_name:
            known = ", ".join(by_name)
            raise UsageError(
                f"benchmark {self.name} has no prompt '{name}'{nearest(name, by_name)}; there are: {known}"
            )
        return by_name[name] if name else self.prompts[0]

    def check_shots(self, shots: int) -> None:
        """Raises UsageError when the paper's protocol does not have so many demonstrations."""
        if shots not in self.shots:
            known = ", ".join(str(number) for number in self.shots)
            raise UsageError(f"benchmark {self.name} is defined for {known} demonstrations, not {shots}")
