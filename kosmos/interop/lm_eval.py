"""Our model inside lm-eval (EleutherAI's evaluation harness), under the name `kosmos`: its tasks, our Engine.

    python -m kosmos.interop.lm_eval --model kosmos --model_args run=runs/mine --tasks arc_easy --batch_size 64

is lm-eval's own command line with this model in it: up to 0.4.13 lm-eval looks for no models outside of its package.
Later ones find it by this package's entry point, and `lm-eval run --model kosmos` is enough. In Python:
`lm_eval.simple_evaluate(model=KosmosLM(run="runs/mine"), tasks=["arc_easy"])`.

Context and continuation are tokenized together, as in training; `<s>` stands before every context. Text alone: lm-eval
has no log-likelihoods behind pictures.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from kosmos.document import Document, Text
from kosmos.errors import ConfigError, KosmosError, UsageError, nearest
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from kosmos.inference.rolling import token_log_probs
from kosmos.inference.scoring import continuation_ids
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.runs import resolve

try:
    # Its own models are registered only while there are none yet; with ours alone it would know no other.
    import lm_eval.models  # noqa: F401
    from lm_eval.api.model import LM
    from lm_eval.api.registry import register_model
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError as error:
    _MISSING = f"lm-eval is not installed ({error}); pip install 'kosmos[lm-eval]'"
    if __name__ == "__main__":
        print(f"kosmos: error: {_MISSING}", file=sys.stderr)
        raise SystemExit(ConfigError.exit_code) from None
    raise ConfigError(_MISSING) from error

# Requests answered between two steps of the progress bar, and kept by --use_cache when a run is killed.
_STEP = 512
# lm-eval's own when a task says nothing.
_NEW_TOKENS = 256
_DEFAULT_BATCH = 64
# What tasks say of generation: their name -> ours.
_DECODING = {
    "until": "stop",
    "max_gen_toks": "max_new_tokens",
    "max_new_tokens": "max_new_tokens",
    "max_tokens": "max_new_tokens",
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "seed": "seed",
    "num_beams": "num_beams",
    "length_penalty": "length_penalty",
    "early_stopping": "early_stopping",
}


@register_model("kosmos")
class KosmosLM(LM):
    """A run directory, a step or a model folder as a model of lm-eval.

    run         what `kosmos eval` takes
    precision   fp32 or bf16
    batch_size  prompts at once; "auto" is 64
    max_length  tokens of context and answer (default: the model's)

    What is longer than the model loses its beginning, as everywhere in lm-eval; `num_shortened` counts it, and a line
    on stderr says so.
    """

    def __init__(
        self,
        run: str | Path = "",
        precision: str = "fp32",
        device: str | None = None,
        batch_size: int | str = _DEFAULT_BATCH,
        max_batch_size: int | None = None,
        max_length: int | None = None,
        **others: Any,
    ) -> None:
        super().__init__()
        if others or not run:
            what = f"{', '.join(others)}: unknown" if others else "no run given"
            raise UsageError(
                f"--model_args: {what}; run=PATH names the model, and precision=bf16, max_length=N may stand beside it"
            )
        folder = resolve(Path(run))
        slots = _DEFAULT_BATCH if str(batch_size).startswith("auto") else int(batch_size)
        self.engine = Engine(
            Kosmos.from_pretrained(folder).to(_usable(device)),
            Processor.load(folder),
            precision=precision,  # type: ignore[arg-type]  # the Engine checks it
            max_slots=min(slots, max_batch_size or slots),
            max_length=max_length,
        )
        self._device = self.engine.device
        self.num_shortened = 0

    @property
    def tokenizer_name(self) -> str:
        """For lm-eval's cache of requests."""
        return "kosmos"

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """(sum of log-probabilities, whether greedy decoding would have said it) of each continuation."""
        pairs = [_spaces_moved(*request.args) for request in requests]
        order = sorted(range(len(pairs)), key=lambda index: (-len(pairs[index][0]), pairs[index][0]))
        answers: dict[int, tuple[float, bool]] = {}
        for chosen in self._steps(order, disable_tqdm, "loglikelihood"):
            texts = [self._scored(*pairs[index]) for index in chosen]
            # Equal contexts are read once, for all their continuations.
            candidates: dict[str, dict[str, None]] = {}
            for context, continuation in texts:
                candidates.setdefault(context, {})[continuation] = None
            scores = self.engine.score(
                [_document(context) for context in candidates], [list(among) for among in candidates.values()]
            )
            made = {
                (context, text): score
                for (context, among), row in zip(candidates.items(), scores)
                for text, score in zip(among, row)
            }
            for index, pair in zip(chosen, texts):
                answers[index] = (made[pair].sum, made[pair].is_greedy)
                self.cache_hook.add_partial("loglikelihood", requests[index].args, answers[index])
        self._say_shortened()
        return [answers[index] for index in range(len(requests))]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-probability of each whole text, in windows as long as the model, every token counted once."""
        tokenizer = self.engine.processor.tokenizer
        answers: list[float] = []
        for chosen in self._steps(list(range(len(requests))), disable_tqdm, "loglikelihood_rolling", step=16):
            rows: list[list[int]] = []
            counted: list[tuple[int, int]] = []  # which request, how many of the row's last tokens count
            for index in chosen:
                windows = get_rolling_token_windows(
                    token_list=tokenizer.encode(requests[index].args[0]),
                    prefix_token=tokenizer.bos_id,
                    max_seq_len=self.engine.max_length,
                    context_len=1,
                )
                for context, continuation in map(make_disjoint_window, windows):
                    rows.append([*context, *continuation])
                    counted.append((index, len(continuation)))
            sums = dict.fromkeys(chosen, 0.0)
            for (index, count), values in zip(counted, token_log_probs(self.engine, rows)):
                sums[index] += float(values[-count:].double().sum())
            for index in chosen:
                answers.append(sums[index])
                self.cache_hook.add_partial("loglikelihood_rolling", requests[index].args, sums[index])
        return answers

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """The continuation of each context, up to `</s>`, one of its stop strings, or its number of tokens."""
        asked = [(request.args[0], self._decoding(request.args[1])) for request in requests]
        order = sorted(range(len(asked)), key=lambda index: (-len(asked[index][0]), asked[index][0]))
        answers: dict[int, str] = {}
        for chosen in self._steps(order, disable_tqdm, "generate_until"):
            contexts = [self._shortened(asked[index][0], asked[index][1].max_new_tokens) for index in chosen]
            made = self.engine.generate(
                [_document(context) for context in contexts], options=[asked[index][1] for index in chosen]
            )
            for index, generation in zip(chosen, made):
                answers[index] = generation.text
                self.cache_hook.add_partial("generate_until", requests[index].args, generation.text)
        self._say_shortened()
        return [answers[index] for index in range(len(requests))]

    def _decoding(self, said: Mapping[str, Any]) -> Decoding:
        """A task's generation_kwargs. Raises UsageError for one that we do not have: its scores would be others."""
        fields: dict[str, Any] = {"max_new_tokens": _NEW_TOKENS}
        sampled = said.get("do_sample", bool(said.get("temperature")))
        for key, value in said.items():
            if key == "do_sample" or value is None:
                continue
            if key not in _DECODING:
                raise UsageError(f"generation_kwargs: '{key}' is unknown to the Engine{nearest(key, _DECODING)}")
            if key == "until":
                value = tuple(text for text in ([value] if isinstance(value, str) else value) if text)
            fields[_DECODING[key]] = value
        # Greedy unless the task asks for more; lm-eval's tasks often say temperature 1 beside do_sample: false.
        fields["temperature"] = (fields.get("temperature") or 1.0) if sampled else 0.0
        # At least half of the model's length is the prompt's.
        fields["max_new_tokens"] = min(int(fields["max_new_tokens"]), self.engine.max_length // 2)
        return Decoding.from_fields(fields)

    def _scored(self, context: str, continuation: str) -> tuple[str, str]:
        """The pair, its context cut at the front when it does not fit."""
        room = len(continuation_ids(self.engine, _document(context).segments, continuation, False))  # type: ignore[arg-type]
        if room >= self.engine.max_length:
            raise UsageError(
                f"a continuation of {room} tokens does not fit into the model's {self.engine.max_length}: "
                f"{continuation[:40]!r} ..."
            )
        return self._shortened(context, room), continuation

    def _shortened(self, context: str, room: int) -> str:
        """The longest end of `context`, from a word's beginning, that leaves `room` tokens."""
        if self._length(context) + room <= self.engine.max_length:
            return context
        self.num_shortened += 1
        cuts = [match.end() for match in re.finditer(r"\s+", context)] + [len(context)]
        low, high = 0, len(cuts) - 1
        while low < high:
            middle = (low + high) // 2
            if self._length(context[cuts[middle] :]) + room <= self.engine.max_length:
                high = middle
            else:
                low = middle + 1
        return context[cuts[low] :]

    def _length(self, context: str) -> int:
        return len(self.engine.processor.encode(_document(context), end=False))

    def _say_shortened(self) -> None:
        if self.num_shortened:
            limit = self.engine.max_length
            print(f"kosmos: {self.num_shortened} prompts over {limit} tokens lost their beginning", file=sys.stderr)

    def _steps(self, order: Sequence[int], quiet: bool, what: str, step: int = _STEP) -> Any:
        from tqdm import tqdm  # lm-eval brings it

        with tqdm(total=len(order), disable=quiet, desc=f"kosmos: {what}") as bar:
            for first in range(0, len(order), step):
                chosen = order[first : first + step]
                yield chosen
                bar.update(len(chosen))


def _usable(device: str | None) -> str:
    """lm-eval's command asks for cuda:0 unless told otherwise."""
    if device is not None and device.startswith("cuda") and not torch.cuda.is_available():
        print(f"kosmos: {device} is not here; running on the CPU", file=sys.stderr)
        return "cpu"
    return device or "cpu"


def _spaces_moved(context: str, continuation: str) -> tuple[str, str]:
    """Spaces at the end of the context belong to the continuation's first token, as everywhere in lm-eval."""
    bare = context.rstrip()
    return bare, context[len(bare) :] + continuation


def _document(context: str) -> Document:
    return Document(Text(context, supervised=False)) if context else Document()


def main() -> int:
    """lm-eval's own command line, with this model in it."""
    from lm_eval.__main__ import cli_evaluate

    try:
        cli_evaluate()
    except KosmosError as error:
        print(f"kosmos: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
