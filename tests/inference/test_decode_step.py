"""Packed and static steps give what the model gives; int8 and bf16 nearly."""

from __future__ import annotations

import pytest
import torch

from kosmos.batch import Batch
from kosmos.document import Document
from kosmos.errors import UsageError
from kosmos.inference.cache import Step
from kosmos.inference.decode_step import PackedDecoder, _OrderedLinear
from kosmos.inference.effect import effect_on_scores
from kosmos.inference.engine import Engine
from kosmos.inference.quantization import _WeightOnly, int8_linear, quantize
from kosmos.inference.static_decode import StaticSteps
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from tests.inference.oracle import PICTURES

DOCUMENTS = [
    Document(PICTURES[0], "an image of"),
    Document("Question: what is it? Answer:", PICTURES[3], "red"),
    Document("an image of the red cat and two dogs, " * 3),
    Document("of"),
]


@pytest.mark.parametrize("num_tokens", [1, 3])
@pytest.mark.parametrize("uniform", [True, False])
@pytest.mark.parametrize("form", ["packed", "static"])
def test_a_step_is_the_models(engine: Engine, num_tokens: int, uniform: bool, form: str) -> None:
    """Also with positions and a mask of the caller's, as beams and candidates have them."""
    prefixes = engine.prefill([DOCUMENTS[0]] * 3 if uniform else DOCUMENTS[:3])
    handles = engine.pool.arrange([prefix.handle for prefix in prefixes])
    starts = torch.tensor([engine.pool.length(handle) for handle in handles])
    token_ids = torch.randint(5, 60, (3, num_tokens), generator=torch.Generator().manual_seed(1))
    packed = PackedDecoder(engine.model.decoder)
    run = packed if form == "packed" else StaticSteps(packed, capture=False)
    for own_mask in (False, True):

        def step(own_mask: bool = own_mask) -> Step:
            made = engine.pool.step(handles, num_tokens, starts, int(starts[0]) if uniform else None)
            if own_mask:  # siblings: each sees the prompt and itself, at the position behind the prompt
                columns = torch.arange(made.width)
                own = columns == made.columns[:, :, None]
                made.override(starts[:, None].expand(-1, num_tokens), (columns < starts[:, None])[:, None] | own)
            return made

        with torch.inference_mode():
            batch = Batch(token_ids, torch.zeros_like(token_ids, dtype=torch.bool))
            expected = engine.model(batch, step())
            made = run(token_ids, step())
            torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(packed.head(made), engine.model.head(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_rows", [1, 3, 4, 9])
@pytest.mark.parametrize("with_bias", [True, False])
def test_ordered_products(num_rows: int, with_bias: bool) -> None:
    """The ones of many rows, which the tiny model is too small for."""
    torch.manual_seed(0)
    weight, x = torch.randn(48, 64), torch.randn(num_rows, 64)
    bias = torch.randn(48) if with_bias else None
    expected = torch.nn.functional.linear(x, weight, bias)
    torch.testing.assert_close(_OrderedLinear(weight, bias, 4)(x), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(_OrderedLinear(weight, bias, 0)(x), expected, atol=1e-5, rtol=1e-5)


def test_static_steps_follow_the_buffers(model: Kosmos, processor: Processor) -> None:
    """Rows come and go and the buffers grow, also past a block of columns; the answers stay those of plain steps."""
    plain = Engine(model, processor)
    static = Engine(model, processor, static_decode=True)
    for engine_documents, length in ((DOCUMENTS[:1], 5), (DOCUMENTS, 40), (DOCUMENTS[1:3], 12)):
        expected = plain.generate(engine_documents, length)
        made = static.generate(engine_documents, length)
        assert [generation.token_ids for generation in made] == [generation.token_ids for generation in expected]
    with plain.prefill(DOCUMENTS[0]) as one, static.prefill(DOCUMENTS[0]) as other:
        assert other.beam(3, 8).token_ids == one.beam(3, 8).token_ids
        names = [" Yes", " the red cat", " two dogs, a green house"]
        for a, b in zip(one.score(names), other.score(names)):
            assert a.sum == pytest.approx(b.sum, abs=1e-4)


def test_clear_packs_the_weights_anew(model: Kosmos, processor: Processor) -> None:
    engine = Engine(model, processor)
    before = engine.generate(DOCUMENTS[:1], 6)[0]
    weight = model.decoder.layers.get_submodule("0.attention.q_proj").get_parameter("weight")
    kept = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.mul_(-3)
        engine.clear()
        changed = engine.generate(DOCUMENTS[:1], 6)[0]
        assert changed.log_probs == pytest.approx(Engine(model, processor).generate(DOCUMENTS[:1], 6)[0].log_probs)
        assert changed.log_probs != pytest.approx(before.log_probs)
    finally:
        with torch.no_grad():
            weight.copy_(kept)


def test_quantize() -> None:
    weight = torch.tensor([[1.0, -127.0, 63.4], [0.0, 0.0, 0.0], [2.54, 1.27, -0.01]])
    integers, scales = quantize(weight)
    assert integers.tolist() == [[1, -127, 63], [0, 0, 0], [127, 64, 0]]
    torch.testing.assert_close(scales[[0, 2]], torch.tensor([1.0, 0.02]))


@pytest.mark.parametrize("device", ["cpu", "other"])
def test_int8_products_are_close(device: str) -> None:
    """Both forms: torch's own of the CPU, and the one for all other devices."""
    torch.manual_seed(0)
    weight, bias, x = torch.randn(48, 64), torch.randn(48), torch.randn(5, 64)
    if device == "other":
        made = _WeightOnly(*quantize(weight), bias)(x)
    else:
        made = int8_linear(weight, bias)(x)
    expected = x @ weight.T + bias
    assert (made - expected).abs().max() < 0.02 * expected.abs().max()
    assert (made - expected).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("options", "largest"),
    [
        ({}, 1e-5),
        ({"quantization": "int8"}, 0.1),
        ({"precision": "bf16"}, 0.05),
        ({"prefill_precision": "bf16"}, 0.05),
        ({"precision": "bf16", "prefill_precision": "fp32"}, 0.05),
    ],
)
def test_effect_on_scores(model: Kosmos, processor: Processor, options: dict[str, str], largest: float) -> None:
    plain, changed = Engine(model, processor), Engine(model, processor, **options)  # type: ignore[arg-type]
    effect = effect_on_scores(plain, changed, DOCUMENTS, 12)
    assert 20 <= effect.num_tokens <= 48
    assert 0 <= effect.mean <= effect.largest <= largest
    assert effect.same_greedy >= (0.9 if options else 1.0)
    if options:
        assert effect.mean > 1e-6


def test_unknown_options_are_refused(model: Kosmos, processor: Processor) -> None:
    with pytest.raises(UsageError, match="quantization 'int4' is unknown; there is int8"):
        Engine(model, processor, quantization="int4")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="precision 'fp8' is unknown"):
        Engine(model, processor, prefill_precision="fp8")  # type: ignore[arg-type]
