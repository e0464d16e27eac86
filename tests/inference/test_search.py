from __future__ import annotations

from collections import Counter

import pytest
import torch

from kosmos.document import Document
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from kosmos.inference.search import Chooser
from tests.inference.oracle import PICTURES

END = 2
NOTHING = torch.zeros(6, dtype=torch.bool)
# Token 0 is the most probable, then 3, 1, 5, 4, 2.
PROBS = torch.tensor([0.4, 0.15, 0.02, 0.25, 0.08, 0.1])


def draw(decoding: Decoding, count: int) -> Counter[int]:
    """Frequencies of the first token over `count` seeds."""
    options = [Decoding(**{**vars(decoding), "seed": seed}) for seed in range(count)]
    chooser = Chooser(options, NOTHING, END)
    tokens, _ = chooser.choose(PROBS.log().repeat(count, 1), range(count), 0)
    return Counter(tokens)


@pytest.mark.parametrize(
    ("decoding", "expected"),
    [
        (Decoding(temperature=1.0), PROBS),
        (Decoding(temperature=0.5), PROBS**2),
        (Decoding(temperature=1.0, top_k=3), PROBS * torch.tensor([1, 1, 0, 1, 0, 0])),
        (Decoding(temperature=1.0, top_p=0.6), PROBS * torch.tensor([1, 0, 0, 1, 0, 0])),
        (Decoding(temperature=1.0, top_p=0.66), PROBS * torch.tensor([1, 1, 0, 1, 0, 0])),
        # top_p is taken of what top_k leaves: 0.4 / 0.8 is 0.5 already.
        (Decoding(temperature=1.0, top_k=3, top_p=0.5), PROBS * torch.tensor([1, 0, 0, 0, 0, 0])),
        (Decoding(temperature=1.0, top_p=1e-6), PROBS * torch.tensor([1, 0, 0, 0, 0, 0])),
    ],
)
def test_draws_follow_the_distribution(decoding: Decoding, expected: torch.Tensor) -> None:
    count = 4000
    drawn = draw(decoding, count)
    expected = expected / expected.sum()
    for token, probability in enumerate(expected.tolist()):
        if probability == 0:
            assert drawn[token] == 0
        else:
            # Four standard deviations, and the seeds are fixed.
            assert abs(drawn[token] / count - probability) <= 4 * (probability * (1 - probability) / count) ** 0.5


def test_log_probs_are_of_the_model_not_of_the_draw() -> None:
    chooser = Chooser([Decoding(temperature=0.1, top_k=1)], torch.tensor([True] + [False] * 5), END)
    tokens, log_probs = chooser.choose(PROBS.log()[None], [0], 0)
    assert tokens == [3]
    assert log_probs == pytest.approx([torch.tensor(0.25).log().item()])


def test_a_tiny_temperature_is_greedy() -> None:
    assert draw(Decoding(temperature=1e-5), 50) == {0: 50}
    assert draw(Decoding(temperature=1e-320), 50) == {0: 50}


def test_min_new_tokens_delays_the_end_for_its_row_only() -> None:
    logits = torch.tensor([[0.0, 0.0, 9.0, 1.0, 0.0, 0.0]]).repeat(2, 1)
    chooser = Chooser([Decoding(min_new_tokens=2), Decoding()], NOTHING, END)
    assert [chooser.choose(logits, [0, 1], step)[0] for step in range(3)] == [[3, 2], [3, 2], [2, 2]]


def test_a_seed_gives_the_same_draws_in_any_company(engine: Engine) -> None:
    """Seeds, lengths and temperatures of the neighbours, their number and their order change nothing."""
    document = Document(PICTURES[0], "an image of")
    mine = Decoding(12, temperature=1.5, top_p=0.95, seed=11)
    alone = engine.generate([document], options=mine)[0]
    for place in range(4):
        documents = [Document("of"), Document(PICTURES[1], "two dogs"), Document()]
        options = [Decoding(3), Decoding(20, temperature=0.7, seed=11), Decoding(9, temperature=3.0, top_k=4)]
        documents.insert(place, document)
        options.insert(place, mine)
        assert engine.generate(documents, options=options)[place].token_ids == alone.token_ids
    longer = engine.generate([document], options=Decoding(20, temperature=1.5, top_p=0.95, seed=11))[0]
    assert longer.token_ids[: len(alone.token_ids)] == alone.token_ids


def test_seeds_differ(engine: Engine) -> None:
    prefix = engine.prefill(Document("an"))
    assert len({prefix.sample(8, seed=seed).token_ids for seed in range(6)}) > 3
    assert len({prefix.sample(8, seed=seed).token_ids for seed in (-(1 << 63), -1, 0, (1 << 64) - 2)}) > 2


def test_draws_run_past_one_block(engine: Engine) -> None:
    """More tokens than uniform numbers are drawn at once: the second block goes on, it does not repeat."""
    made = engine.prefill(Document()).sample(100, temperature=5.0, seed=1, min_new_tokens=100)
    assert len(made.token_ids) == 100
    assert made.token_ids[:36] != made.token_ids[64:]
