"""The tiny Engine's model as transformers' Kosmos2, with the same weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Kosmos2ForConditionalGeneration

from kosmos.batch import collate
from kosmos.document import Document
from kosmos.inference.engine import Engine
from kosmos.interop.kosmos2.config import native_config
from kosmos.interop.kosmos2.conversion import native_tensors
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.tokenizer import Tokenizer
from tests.model.their_configs import small_kosmos2_config

NUM_LATENTS = 3


def paired_engine(tokenizer: Tokenizer) -> tuple[Engine, Kosmos2ForConditionalGeneration]:
    """A random Kosmos2 and our Engine on its weights; it wanders and ends at times."""
    torch.manual_seed(3)
    config = small_kosmos2_config(tokenizer.vocab_size, NUM_LATENTS, vision={"image_size": 16, "patch_size": 8})
    theirs = Kosmos2ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        width = config.get_text_config().hidden_size
        theirs.text_model.model.embed_tokens.weight.mul_(3.0)
        theirs.text_model.model.layer_norm.weight.copy_(torch.randint(0, 2, (width,)) * 2.0 - 1.0)
        theirs.text_model.model.embed_tokens.weight[tokenizer.eos_id] *= 1.5
    model = Kosmos(native_config(config, trainable="all")).eval()
    model.load_state_dict(native_tensors(theirs.state_dict(), model.config, "a random model"))
    return Engine(model, Processor(tokenizer, model.config), max_slots=8), theirs


def their_beams(engine: Engine, theirs: Kosmos2ForConditionalGeneration, document: Document, **options: Any) -> Any:
    """What transformers' `generate` makes of a prompt: the new tokens [n] of each returned sequence, and its score."""
    row = engine.processor.encode(document.unsupervised(), end=False)
    batch = collate([row], pad_id=1)
    given: dict[str, Any] = {"input_ids": batch.token_ids, "attention_mask": torch.ones_like(batch.token_ids)}
    if batch.inputs:
        encoder: Any = engine.model.encoders["image"]
        mask = torch.zeros_like(batch.token_ids).flatten()
        mask[batch.inputs["image"].slots.flatten()] = 1
        given["image_embeds_position_mask"] = mask.view_as(batch.token_ids)
        with torch.no_grad():
            pixels = encoder.normalize(batch.inputs["image"].features)
            embeddings = theirs(pixel_values=pixels, **given).image_embeds
        # One row of all pictures: as rows of their own, `generate` would repeat each for every beam, and mix them up.
        given["image_embeds"] = embeddings.flatten(0, 1)[None]
    tokenizer = engine.processor.tokenizer
    text_model: Any = theirs.text_model
    with torch.no_grad():
        made = text_model.generate(
            **given,
            **options,
            do_sample=False,
            eos_token_id=tokenizer.eos_id,
            pad_token_id=tokenizer.pad_id,
            suppress_tokens=engine.forbidden.nonzero().flatten().tolist(),
            return_dict_in_generate=True,
            output_scores=True,
        )
    new: list[Tensor] = [sequence[len(row) :] for sequence in made.sequences]
    tokens = [[t for t in sequence.tolist() if t != tokenizer.pad_id] for sequence in new]
    return tokens, made.sequences_scores.tolist() if "sequences_scores" in made else None
