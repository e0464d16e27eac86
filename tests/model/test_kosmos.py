"""Kosmos: images in their slots, freezing, the language-only baseline, pixels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kosmos.batch import ModalityInputs
from kosmos.config import ModelConfig
from kosmos.errors import UsageError
from kosmos.model.kosmos import Kosmos
from tests.model.tiny import SLOT_ID, loss, tiny_batch, tiny_config, tiny_model


@torch.no_grad()
def test_images_fill_their_slots_scaled() -> None:
    model = tiny_model()
    batch = tiny_batch(["titittt", "t" * 17])
    rows = model.embed(batch)
    images = model.encode_inputs("image", batch.inputs["image"].features)
    slots = batch.token_ids == SLOT_ID
    torch.testing.assert_close(rows[slots], images.flatten(0, 1) * 32**0.5)
    torch.testing.assert_close(rows[~slots], model.decoder.embedding(batch.token_ids)[~slots])
    torch.testing.assert_close(rows[0, 9:13], images[1] * 32**0.5)


@torch.no_grad()
def test_embeddings_computed_before_give_the_same() -> None:
    model = tiny_model()
    batch = tiny_batch(["titit", "titit"])
    images = model.encode_inputs("image", batch.inputs["image"].features)
    empty = {"image": replace(batch.inputs["image"], features=torch.empty(0))}
    found = model(replace(batch, inputs=empty), embedded={"image": images})
    assert torch.equal(found, model(batch))
    with pytest.raises(UsageError, match="do not fit slots"):
        model(batch, embedded={"image": images[:3]})


@torch.no_grad()
def test_pixels_are_normalised_once() -> None:
    model = tiny_model()
    pixels = tiny_batch(["ti"]).inputs["image"].features
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    floats = (pixels / 255 - mean) / deviation
    torch.testing.assert_close(model.encode_inputs("image", pixels), model.encode_inputs("image", floats))
    with pytest.raises(UsageError, match=r"\[N, 3, 28, 28\]"):
        model.encode_inputs("image", pixels[..., :14])


@torch.no_grad()
def test_the_image_changes_what_follows_it() -> None:
    model = tiny_model()
    batch, other = tiny_batch(["ttitt"], seed=1), tiny_batch(["ttitt"], seed=1)
    other.inputs["image"].features = 255 - other.inputs["image"].features
    difference = (model(batch) - model(other)).abs().amax(-1)[0]
    assert difference[:3].max().item() == 0.0
    assert difference[3:].min().item() > 1e-4


def test_language_only_baseline() -> None:
    model = Kosmos(ModelConfig(decoder=tiny_config().decoder, vision=None))
    assert not any(name.startswith("encoders") for name, _ in model.named_parameters())
    assert model(tiny_batch(["ttt"])).shape == (1, 3, 32)
    with pytest.raises(UsageError, match="vision: null"):
        model(tiny_batch(["tit"]))


def test_unknown_modality() -> None:
    batch = tiny_batch(["tit"])
    batch.inputs["speech"] = ModalityInputs(torch.zeros(1, 4), batch.inputs["image"].slots)
    with pytest.raises(UsageError, match="'speech': add it to extra_modalities"):
        tiny_model()(batch)
    with pytest.raises(UsageError, match="did you mean 'image'"):
        Kosmos(tiny_config(extra_modalities=("imago",)), random_vision=True)


def test_random_frozen_tower_is_refused() -> None:
    with pytest.raises(UsageError, match="--random-vision"):
        Kosmos(tiny_config())
    assert isinstance(Kosmos(tiny_config(**{"vision.trainable": "all"})), Kosmos)


def test_frozen_parameters_do_not_move() -> None:
    model = tiny_model().train()
    trainable = model.trainable_parameters()
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    assert len(frozen) == 16 + 3 + 2
    assert all(name.startswith("encoders.image.vision.") for name in frozen)
    listed = {id(parameter) for parameter in trainable}
    moving = {name: p.detach().clone() for name, p in model.named_parameters() if id(p) in listed}
    assert frozen.keys().isdisjoint(moving)
    assert len(frozen) + len(moving) == len(list(model.parameters()))
    optimizer = torch.optim.AdamW(trainable, lr=1e-2, weight_decay=0.1)
    batch = tiny_batch(["titt", "ttit"])
    first = loss(model, batch).item()
    for _ in range(10):
        optimizer.zero_grad()
        value = loss(model, batch)
        value.backward()
        optimizer.step()
    assert value.item() < first - 1
    state = model.state_dict()
    assert all(torch.equal(state[name], before) for name, before in frozen.items())
    still = [name for name, before in moving.items() if torch.equal(state[name], before)]
    assert still == []
