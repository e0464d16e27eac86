"""Our decoder in xPos mode against torchscale 0.3.0, fp32, random weights: full, incremental, init statistics."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kosmos.config import DecoderConfig
from kosmos.model.decoder import Decoder
from tests.model.tiny import ConcatenatingCache, shake

VOCAB, HIDDEN, FFN, HEADS, LAYERS = 50, 32, 64, 4, 3
CONFIG = DecoderConfig(
    num_layers=LAYERS,
    hidden_size=HIDDEN,
    ffn_size=FFN,
    num_heads=HEADS,
    vocab_size=VOCAB,
    max_positions=64,
    dropout=0.0,
    attention_dropout=0.0,
)


@pytest.fixture(scope="module")
def torchscale() -> Iterator[dict[str, Any]]:
    """torchscale's classes. It wants timm, and timm torchvision, for one function that these tests never call."""
    stub = ModuleType("timm.models.layers")
    stub.drop_path = lambda x, *_: x  # type: ignore[attr-defined]
    names = {"timm": ModuleType("timm"), "timm.models": ModuleType("timm.models"), "timm.models.layers": stub}
    with pytest.MonkeyPatch.context() as patch:
        for name, module in names.items():
            patch.setitem(sys.modules, name, module)
        pytest.importorskip("torchscale", reason="torchscale 0.3.0 is not installed (pip install --no-deps torchscale)")
        from torchscale.architecture.config import DecoderConfig as TheirConfig
        from torchscale.architecture.decoder import Decoder as TheirDecoder

        yield {"config": TheirConfig, "decoder": TheirDecoder}


def _theirs(torchscale: dict[str, Any], **sizes: int) -> nn.Module:
    chosen = {"hidden": HIDDEN, "ffn": FFN, "layers": LAYERS, **sizes}
    config = torchscale["config"](
        vocab_size=VOCAB,
        decoder_embed_dim=chosen["hidden"],
        decoder_ffn_embed_dim=chosen["ffn"],
        decoder_layers=chosen["layers"],
        decoder_attention_heads=HEADS,
        subln=True,
        xpos_rel_pos=True,
        no_scale_embedding=False,
        share_decoder_input_output_embed=True,
        dropout=0.0,
        attention_dropout=0.0,
    )
    decoder: nn.Module = torchscale["decoder"](config, embed_tokens=nn.Embedding(VOCAB, chosen["hidden"])).eval()
    return decoder


def _our_name(name: str) -> str:
    return (
        name.replace("embed_tokens", "embedding")
        .replace("self_attn_layer_norm", "attention_pre_norm")
        .replace("self_attn", "attention")
        .replace("final_layer_norm", "ffn_pre_norm")
    )


@pytest.fixture(scope="module")
def pair(torchscale: dict[str, Any]) -> tuple[Decoder, nn.Module]:
    torch.manual_seed(0)
    theirs = _theirs(torchscale)
    shake(theirs)
    named = {_our_name(name): tensor for name, tensor in theirs.named_parameters() if "output_projection" not in name}
    ours = Decoder(CONFIG).eval()
    ours.load_state_dict(named)
    return ours, theirs


@pytest.fixture(scope="module")
def token_ids() -> Tensor:
    return torch.randint(4, VOCAB, (2, 33), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_full_forward(pair: tuple[Decoder, nn.Module], token_ids: Tensor) -> None:
    ours, theirs = pair
    wanted = theirs(token_ids)[0]
    found = ours.head(ours(ours.embedding(token_ids)))
    assert wanted.std() > 0.1
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_incremental(pair: tuple[Decoder, nn.Module], token_ids: Tensor) -> None:
    ours, theirs = pair
    state: dict[Any, Any] = {"is_first_step": True}
    cache = ConcatenatingCache()
    for length in range(1, token_ids.shape[1] + 1):
        wanted = theirs(token_ids[:, :length], incremental_state=state)[0]
        state["is_first_step"] = False
        cache.begin(torch.ones(2, 1, dtype=torch.bool))
        found = ours.head(ours(ours.embedding(token_ids[:, length - 1 : length]), cache=cache))
        torch.testing.assert_close(found[:, -1], wanted[:, -1], rtol=1e-5, atol=1e-5)


def test_gradients(pair: tuple[Decoder, nn.Module], token_ids: Tensor) -> None:
    ours, theirs = pair
    theirs(token_ids)[0].logsumexp(-1).mean().backward()
    ours.head(ours(ours.embedding(token_ids))).logsumexp(-1).mean().backward()
    mine = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        if "output_projection" in name:
            continue
        assert parameter.grad is not None
        torch.testing.assert_close(mine[_our_name(name)].grad, parameter.grad, rtol=1e-5, atol=1e-5)


def test_init_statistics_equal_torchscale(torchscale: dict[str, Any]) -> None:
    """Every matrix has torchscale's spread, every bias its bound."""
    torch.manual_seed(0)
    theirs = _theirs(torchscale, hidden=128, ffn=512, layers=4)
    config = DecoderConfig(num_layers=4, hidden_size=128, ffn_size=512, num_heads=HEADS, vocab_size=VOCAB)
    mine = dict(Decoder(config).named_parameters())
    compared = 0
    for name, parameter in theirs.named_parameters():
        if "layers" not in name or parameter.dim() != 2:
            continue
        ratio = (mine[_our_name(name)].std() / parameter.std()).item()
        assert ratio == pytest.approx(1.0, abs=0.03), name
        bias = name.replace("weight", "bias")
        ratio = (mine[_our_name(bias)].abs().max() / dict(theirs.named_parameters())[bias].abs().max()).item()
        assert ratio == pytest.approx(1.0, abs=0.2), bias
        compared += 1
    assert compared == 4 * 6
