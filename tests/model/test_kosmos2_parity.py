"""Our model in sinusoidal mode against transformers' Kosmos2, fp32, random weights: logits, loss, gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Kosmos2ForConditionalGeneration

from kosmos.batch import Batch
from kosmos.interop.kosmos2.config import native_config
from kosmos.interop.kosmos2.conversion import native_tensors
from kosmos.interop.kosmos2.names import native_name
from kosmos.model.kosmos import Kosmos
from tests.model.their_configs import small_kosmos2_config
from tests.model.tiny import NUM_LATENTS, SLOT_ID, loss, shake, tiny_batch

TOLERANCE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def pair() -> tuple[Kosmos, Kosmos2ForConditionalGeneration]:
    torch.manual_seed(0)
    config = small_kosmos2_config(120, NUM_LATENTS, text={"max_position_embeddings": 64})
    theirs = Kosmos2ForConditionalGeneration(config).eval()
    shake(theirs)
    ours = Kosmos(native_config(config, trainable="all")).eval()
    ours.load_state_dict(native_tensors(theirs.state_dict(), ours.config, "a random model"))
    return ours, theirs


def _normalize(ours: Kosmos, pixels: Tensor) -> Tensor:
    encoder: Any = ours.encoders["image"]
    normalized: Tensor = encoder.normalize(pixels)
    return normalized


def _their_logits(ours: Kosmos, theirs: Kosmos2ForConditionalGeneration, batch: Batch) -> Tensor:
    """HF's logits; its class refuses a batch without images, so that goes through its text model."""
    options = {"input_ids": batch.token_ids}
    if batch.segment_ids is not None:
        options["attention_mask"] = (batch.segment_ids > 0).long()
    if not batch.inputs:
        logits: Tensor = theirs.text_model(**options).logits
        return logits
    pixels = _normalize(ours, batch.inputs["image"].features)
    output = theirs(pixel_values=pixels, image_embeds_position_mask=(batch.token_ids == SLOT_ID).long(), **options)
    with_images: Tensor = output.logits
    return with_images


@pytest.mark.parametrize(
    "rows",
    [
        ["tttttttttt", "tttttttttt"],
        ["ttttttt...", "tttttttttt"],
        ["...ttttttt", "tttttttttt"],
        ["titt", "ttit"],
        ["titititttt"],
        ["tititit" + "t" * 2, "tit" + "t" * 16, "t" * 24],
        ["tit" + "tt" + "...", "titt" + "tttt"],
        ["..." + "tit" + "tt", "titttttt"],
    ],
    ids=["text", "text, right", "text, left", "one", "three", "3, 1 and 0", "image, right", "image, left"],
)
def test_logits(pair: tuple[Kosmos, Kosmos2ForConditionalGeneration], rows: list[str]) -> None:
    ours, theirs = pair
    batch = tiny_batch(rows)
    with torch.no_grad():
        found, wanted = ours.head(ours(batch)), _their_logits(ours, theirs, batch)
    real = batch.token_ids != 1
    assert wanted[real].std() > 0.1
    torch.testing.assert_close(found[real], wanted[real], **TOLERANCE)


def test_image_embeddings(pair: tuple[Kosmos, Kosmos2ForConditionalGeneration]) -> None:
    ours, theirs = pair
    batch = tiny_batch(["titit"])
    pixels = batch.inputs["image"].features
    with torch.no_grad():
        normalized = _normalize(ours, pixels)
        wanted = theirs(
            pixel_values=normalized,
            input_ids=batch.token_ids,
            image_embeds_position_mask=(batch.token_ids == SLOT_ID).long(),
        ).image_embeds
        torch.testing.assert_close(ours.encode_inputs("image", pixels), wanted, **TOLERANCE)
        assert wanted.shape == (2, NUM_LATENTS, 32)


def test_loss_and_gradients(pair: tuple[Kosmos, Kosmos2ForConditionalGeneration]) -> None:
    ours, theirs = pair
    batch = tiny_batch(["tititit" + "t" * 2, "tit" + "t" * 16, "t" * 20 + "...."])
    labels = batch.token_ids.masked_fill(~batch.supervised, -100)
    assert batch.segment_ids is not None
    ours.zero_grad()
    theirs.zero_grad()
    their_loss = theirs(
        pixel_values=_normalize(ours, batch.inputs["image"].features),
        input_ids=batch.token_ids,
        attention_mask=(batch.segment_ids > 0).long(),
        image_embeds_position_mask=(batch.token_ids == SLOT_ID).long(),
        labels=labels,
    ).loss
    our_loss = loss(ours, batch)
    torch.testing.assert_close(our_loss, their_loss, **TOLERANCE)
    their_loss.backward()
    our_loss.backward()
    gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
    compared = 0
    for name, parameter in theirs.named_parameters():
        native = native_name(name)
        if native is None or parameter.grad is None:
            continue
        found = gradients.pop(native)
        assert found is not None, native
        torch.testing.assert_close(found, parameter.grad, **TOLERANCE)
        compared += 1
    assert not gradients
    assert compared == 93


def test_every_name_is_mapped(pair: tuple[Kosmos, Kosmos2ForConditionalGeneration]) -> None:
    ours, theirs = pair
    assert {native_name(name) for name in theirs.state_dict()} == {None, *ours.state_dict()}
