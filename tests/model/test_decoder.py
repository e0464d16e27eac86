"""The decoder: caches, padding, packing, dropout, the sub-LayerNorms."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kosmos.batch import Batch
from kosmos.errors import ConfigError
from kosmos.model import attention
from kosmos.model.decoder import Decoder
from kosmos.model.kosmos import Kosmos
from tests.model.tiny import ConcatenatingCache, tiny_batch, tiny_config, tiny_model

POSITIONS = ["xpos", "sinusoidal"]
ROW = "tit" + "t" * 9


@pytest.fixture(scope="module", params=POSITIONS)
def model(request: pytest.FixtureRequest) -> Kosmos:
    return tiny_model(**{"decoder.position": request.param})


def _part(batch: Batch, start: int, stop: int) -> Batch:
    return Batch(batch.token_ids[:, start:stop], batch.supervised[:, start:stop])


@torch.no_grad()
@pytest.mark.parametrize("prompt", [8, 13, 16])
def test_cached_decoding_equals_the_full_forward(model: Kosmos, prompt: int) -> None:
    batch = tiny_batch([ROW, ROW])
    assert batch.token_ids.shape[1] == 17
    wanted = model(batch)
    cache = ConcatenatingCache()
    whole = torch.ones_like(batch.supervised)
    first = replace(_part(batch, 0, prompt), inputs=batch.inputs)
    first.inputs["image"].slots = torch.tensor([[2, 3, 4, 5], [prompt + 2, prompt + 3, prompt + 4, prompt + 5]])
    found = [model(first, cache.begin(whole[:, :prompt]))]
    for at in range(prompt, 17):
        found.append(model(_part(batch, at, at + 1), cache.begin(whole[:, :1])))
    torch.testing.assert_close(torch.cat(found, dim=1), wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_left_padding_changes_nothing_cached_or_not(model: Kosmos) -> None:
    single = tiny_batch([ROW])
    padded = tiny_batch(["....." + ROW, "t" * 22])
    padded.token_ids[0, 5:] = single.token_ids[0]
    padded.inputs["image"].features = single.inputs["image"].features
    wanted = model(single)[0]
    torch.testing.assert_close(model(padded)[0, 5:], wanted, rtol=1e-5, atol=1e-5)
    cache = ConcatenatingCache()
    valid = padded.token_ids != 1
    found = [model(replace(padded, token_ids=padded.token_ids[:, :18]), cache.begin(valid[:, :18]))]
    for at in range(18, 22):
        found.append(model(_part(padded, at, at + 1), cache.begin(valid[:, at : at + 1])))
    torch.testing.assert_close(torch.cat(found, dim=1)[0, 5:], wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_batch_equals_single(model: Kosmos) -> None:
    rows = ["titit" + "t" * 5, "tit" + "t" * 12, "t" * 20]
    batch = tiny_batch(rows)
    wanted = model(batch)
    slots = batch.inputs["image"].slots
    for index in range(3):
        mine = slots[:, 0] // 20 == index
        inputs = batch.inputs["image"]
        single = Batch(batch.token_ids[index : index + 1], batch.supervised[index : index + 1])
        if mine.any():
            single.inputs["image"] = type(inputs)(inputs.features[mine], slots[mine] - 20 * index)
        torch.testing.assert_close(model(single)[0], wanted[index], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_documents_of_one_row_do_not_see_each_other(model: Kosmos) -> None:
    one, two = tiny_batch([ROW], seed=1), tiny_batch(["t" * 6], seed=2)
    packed = replace(
        one,
        token_ids=torch.cat((one.token_ids, two.token_ids, torch.ones(1, 2, dtype=torch.int64)), dim=1),
        segment_ids=torch.tensor([[1] * 17 + [2] * 6 + [0] * 2]),
    )
    found = model(packed)[0]
    torch.testing.assert_close(found[:17], model(one)[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[17:23], model(two)[0], rtol=1e-5, atol=1e-5)
    assert torch.isfinite(found).all()


@torch.no_grad()
def test_nothing_sees_the_future(model: Kosmos) -> None:
    batch = tiny_batch(["t" * 12])
    changed = replace(batch, token_ids=batch.token_ids.clone())
    changed.token_ids[0, 7] += 1
    difference = (model(batch) - model(changed)).abs().amax(-1)[0]
    assert difference[:7].max().item() == 0.0
    assert difference[7:].min().item() > 0.0


@torch.no_grad()
def test_rows_longer_than_max_positions_work(model: Kosmos) -> None:
    hidden = model(tiny_batch(["t" * 100]))
    assert hidden.shape == (1, 100, 32)
    assert torch.isfinite(hidden).all()


def test_dropout_everywhere_the_paper_has_it_and_only_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(
        **{
            "decoder.dropout": 0.1,
            "decoder.attention_dropout": 0.2,
            "decoder.activation_dropout": 0.3,
            "resampler.attention_dropout": 0.4,
        }
    )
    seen: Counter[tuple[str, float]] = Counter()
    plain_dropout, plain_attention = F.dropout, attention.attend

    def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        seen["dropout", p if training else 0.0] += 1
        return plain_dropout(x, p, training, inplace)

    def attend(*arguments: Any) -> Tensor:
        rate = arguments[-1]
        seen["attention", rate] += 1
        seen["dropout", rate] -= rate > 0  # the weights' own, which is counted here
        return plain_attention(*arguments)

    monkeypatch.setattr(F, "dropout", dropout)
    monkeypatch.setattr(attention, "attend", attend)
    batch = tiny_batch(["tit"])
    # The embedding, two sub-layers in each of 2 layers; the activation; attention of 2 layers and the resampler.
    # transformers calls the attention of the tower's 2 blocks, without dropout.
    model.train()(batch)
    assert seen[("dropout", 0.1)] == 1 + 2 * 2
    assert seen[("dropout", 0.3)] == 2
    assert seen[("attention", 0.2)] == 2
    assert seen[("attention", 0.4)] == 1
    seen.clear()
    first, second = model.eval()(batch), model(batch)
    assert torch.equal(first, second)
    assert {p for _, p in seen} == {0.0}


@torch.no_grad()
def test_layer_written_out() -> None:
    """One layer by hand: LN, attention over one token, inner LN, out_proj; LN, fc1, GELU, LN over F, fc2."""
    decoder = tiny_model(**{"decoder.num_layers": 1}).decoder
    layer: Any = decoder.layers[0]
    x = torch.randn(1, 1, 32)

    def norm(values: Tensor, module: torch.nn.LayerNorm) -> Tensor:
        centred = values - values.mean(-1, keepdim=True)
        return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * module.weight + module.bias

    # A single token sees itself alone, so attention returns its value.
    attended = layer.attention.v_proj(norm(x, layer.attention_pre_norm))
    h = x + layer.attention.out_proj(norm(attended, layer.attention.inner_attn_ln))
    inner = layer.ffn.fc1(norm(h, layer.ffn_pre_norm))
    inner = 0.5 * inner * (1 + torch.erf(inner / 2**0.5))
    y = h + layer.ffn.fc2(norm(inner, layer.ffn.ffn_layernorm))
    torch.testing.assert_close(decoder(x), norm(y, decoder.layer_norm), rtol=1e-5, atol=1e-5)
    assert layer.ffn.ffn_layernorm.weight.shape == (64,)
    assert layer.attention.inner_attn_ln.weight.shape == (32,)


def test_without_sub_ln() -> None:
    decoder: Any = Decoder(tiny_config(**{"decoder.sub_ln": False}).decoder)
    assert decoder.layers[0].attention.inner_attn_ln is None
    assert decoder.layers[0].ffn.ffn_layernorm is None


def test_embedding_and_head_share_one_matrix() -> None:
    decoder = tiny_model().decoder
    ids = torch.tensor([[5, 9]])
    torch.testing.assert_close(decoder.embedding(ids), decoder.embedding.weight[ids] * 32**0.5)
    hidden = torch.randn(2, 32)
    torch.testing.assert_close(decoder.head(hidden), hidden @ decoder.embedding.weight.T)


def test_bf16_autocast_trains_near_fp32() -> None:
    model = tiny_model()
    batch = tiny_batch(["tit" + "t" * 4])
    plain = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        low = model(batch)
    assert (plain - low.float()).abs().max().item() < 0.1
    low.float().square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.trainable_parameters() if p.grad is not None)


def test_head_size_must_be_even() -> None:
    with pytest.raises(ConfigError, match="num_heads"):
        Decoder(tiny_config(**{"decoder.num_heads": 5}).decoder)
