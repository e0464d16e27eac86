"""One checkpoint through lm-eval and through our runner: the same log-likelihoods. Runs where lm-eval is installed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kosmos.batch import Batch
from kosmos.cli.main import main
from kosmos.document import Document, Text
from kosmos.errors import UsageError
from kosmos.evaluation.fixtures import write_fixture
from kosmos.evaluation.tasks.table1 import get_benchmark
from tests.inference.tiny import WORDS, save_tiny

pytest.importorskip("lm_eval", reason="lm-eval is not installed")
lm_eval_evaluator = pytest.importorskip("lm_eval.evaluator")

from kosmos.interop.lm_eval import KosmosLM  # noqa: E402
from tests.evaluation.tasks.test_lm_eval_requests import lm_eval_task  # noqa: E402


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def ours(model: Path) -> KosmosLM:
    return KosmosLM(model, batch_size=8)


def instance(*args: Any) -> Any:
    return SimpleNamespace(args=args)


@pytest.mark.parametrize("name", ["boolq", "winogrande", "copa"])
def test_items_are_those_of_our_runner(name: str, model: Path, tmp_path: Path) -> None:
    """lm-eval's evaluator with its own task file, and `kosmos eval --prompt lm_eval`, on the same made-up rows."""
    folder = write_fixture(name, tmp_path / "data", "hub")
    command = ["eval", str(model), "--tasks", name, "--data", str(tmp_path / "data"), "--prompt", "lm_eval"]
    assert main([*command, "--out", str(tmp_path / "out"), "--quiet"]) == 0
    samples = [
        json.loads(line) for line in (tmp_path / "out" / "samples" / f"{name}-lm_eval.jsonl").read_text().splitlines()
    ]
    benchmark = get_benchmark(name)
    task = lm_eval_task(name, folder, benchmark, tmp_path)
    task.config.task = name
    found = lm_eval_evaluator.evaluate(KosmosLM(model, batch_size=8), {name: task}, bootstrap_iters=0, log_samples=True)
    theirs = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    assert len(theirs) == len(samples) >= 4
    for our_sample, sample in zip(samples, theirs):
        log_likelihoods = [answer[0][0] for answer in sample["resps"]]
        assert our_sample["log_probs"] == pytest.approx(log_likelihoods, abs=1e-4)
    accuracy = json.loads((tmp_path / "out" / "metrics.json").read_text())["cells"][f"{name}-lm_eval"]["metrics"]
    assert accuracy["accuracy"]["value"] == pytest.approx(found["results"][name]["acc,none"])


def test_log_likelihoods_are_those_of_one_pass_each(ours: KosmosLM) -> None:
    pairs = [("Question: what is it? Answer:", " a red cat"), ("", "an image of"), ("Question: ", "what is it?"),
             ("Question: what is it? Answer:", " Yes"), ("Question: what is it? Answer:", " a red cat")]  # fmt: skip
    answers = ours.loglikelihood([instance(*pair) for pair in pairs], disable_tqdm=True)
    for (context, continuation), (log_likelihood, is_greedy) in zip(pairs, answers):
        moved = context.rstrip()
        document = Document(Text(moved, supervised=False), Text(context[len(moved) :] + continuation))
        row = ours.engine.processor.encode(document, end=False)
        batch = Batch(torch.from_numpy(row.token_ids)[None], torch.from_numpy(row.supervised)[None])
        with torch.no_grad():
            log_probs = ours.engine.model.head(ours.engine.model(batch))[0].float().log_softmax(-1)
        places = row.supervised.nonzero()[0]
        expected = sum(float(log_probs[place - 1, row.token_ids[place]]) for place in places)
        assert log_likelihood == pytest.approx(expected, abs=1e-4)
        assert is_greedy == all(int(log_probs[place - 1].argmax()) == row.token_ids[place] for place in places)
    assert answers[0] == answers[4]


def test_the_likeliest_word_is_greedy_and_no_other(ours: KosmosLM) -> None:
    tokenizer = ours.engine.processor.tokenizer
    words = [f" {word}" for word in WORDS if len(tokenizer.encode(f" {word}")) == 1]
    seen = set()
    for context in (f"an image of {word}" for word in WORDS):
        with ours.engine.prefill(Document(context)) as prefix:
            best = int(prefix.last_logits.argmax())
        answers = ours.loglikelihood([instance(context, word) for word in words], disable_tqdm=True)
        for word, (_, is_greedy) in zip(words, answers):
            assert is_greedy == (tokenizer.encode(f"{context}{word}")[-1] == best)
            seen.add(is_greedy)
    assert seen == {True, False}


def test_rolling_counts_every_token_once(model: Path, ours: KosmosLM) -> None:
    text = "Question: what is it? Answer: a red cat and two dogs, a green house; " * 2
    whole, short = (lm.loglikelihood_rolling([instance(text)], disable_tqdm=True)[0] for lm in (ours, KosmosLM(model)))
    assert whole == short
    assert whole == pytest.approx(ours.loglikelihood([instance("", text)], disable_tqdm=True)[0][0], abs=1e-3)
    windows = KosmosLM(model, max_length=16).loglikelihood_rolling([instance(text)], disable_tqdm=True)[0]
    assert windows != whole and math.isfinite(windows)
    count = len(ours.engine.processor.tokenizer.encode(text))
    assert count > 32
    assert windows / count == pytest.approx(whole / count, rel=0.2)


def test_what_is_too_long_loses_its_beginning(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = KosmosLM(model, max_length=24)
    tail = "what is it? Answer:"
    long = "two dogs, a green house; " * 20 + tail
    whole = small.loglikelihood([instance(long, " Yes")], disable_tqdm=True)[0][0]
    cut = small._shortened(long, 1)
    assert cut.endswith(tail) and len(small.engine.encode(Document(cut))) + 1 <= 24
    assert whole == pytest.approx(small.loglikelihood([instance(cut, " Yes")], disable_tqdm=True)[0][0], abs=1e-5)
    assert "prompts over 24 tokens lost their beginning" in capsys.readouterr().err
    assert small.generate_until([instance(long, {"until": ["\n"]})], disable_tqdm=True)[0] is not None
    with pytest.raises(UsageError, match="does not fit into the model's 24"):
        small.loglikelihood([instance("an image", long)], disable_tqdm=True)


def test_other_arguments_are_named(model: Path) -> None:
    with pytest.raises(UsageError, match="--model_args: pretrained: unknown; run=PATH names the model"):
        KosmosLM(pretrained=model)
    with pytest.raises(UsageError, match="--model_args: no run given; run=PATH"):
        KosmosLM()


def test_generation_takes_what_tasks_say(ours: KosmosLM) -> None:
    assert ours._decoding({"until": "\n", "do_sample": False, "temperature": 1.0}).temperature == 0
    drawn = ours._decoding({"until": ["\n", ""], "do_sample": True, "max_gen_toks": 9})
    assert (drawn.temperature, drawn.stop, drawn.max_new_tokens) == (1.0, ("\n",), 9)
    assert ours._decoding({"temperature": 0.5}).temperature == 0.5
    with pytest.raises(UsageError, match="'repetition_penalty' is unknown to the Engine"):
        ours._decoding({"repetition_penalty": 1.2})


def test_lm_eval_finds_ours_and_its_own(model: Path) -> None:
    from lm_eval.api.registry import get_model

    made = get_model("kosmos").create_from_arg_string(f"run={model},precision=fp32", {"batch_size": "auto"})
    assert isinstance(made, KosmosLM)
    assert get_model("dummy").__name__ == "DummyLM"
