"""KOSMOS-1 for transformers: a decoder that reads text and pictures.

This file is copied into exported folders, so it imports nothing but torch and transformers.
Shapes: B rows, T tokens, D width, N pictures of all rows in order, L places of each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, GenerationMixin
from transformers.cache_utils import Cache
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    BaseModelOutputWithPooling,
    CausalLMOutputWithPast,
)
from transformers.utils.generic import can_return_tuple
from transformers.utils.import_utils import torch_compilable_check

from .configuration_kosmos import KosmosConfig
from .modeling_kosmos_text import KosmosPreTrainedModel, KosmosTextModel
from .modeling_kosmos_vision import KosmosConvVisionModel, KosmosResampler

# Which layers LoRA may change, for peft's `target_modules`: the decoder's, and not CLIP's, whose names end alike.
LORA_TARGETS = r".*language_model\.layers\.\d+\.(self_attn\.(q_proj|k_proj|v_proj|out_proj)|mlp\.(fc1|fc2))"


@dataclass
class KosmosModelOutputWithPast(BaseModelOutputWithPast):
    """`image_hidden_states` [N, L, D]: what stands in the pictures' places."""

    image_hidden_states: Tensor | None = None


@dataclass
class KosmosCausalLMOutputWithPast(CausalLMOutputWithPast):
    """As KosmosModelOutputWithPast, with logits and loss."""

    image_hidden_states: Tensor | None = None


class KosmosModel(KosmosPreTrainedModel):
    """Vision tower, projector and decoder; without a `vision_config`, the decoder alone."""

    def __init__(self, config: KosmosConfig) -> None:
        super().__init__(config)
        if config.vision_config is not None:
            kind = CLIPVisionModel if isinstance(config.vision_config, CLIPVisionConfig) else KosmosConvVisionModel
            self.vision_tower = kind._from_config(config.vision_config)
            self.multi_modal_projector = KosmosResampler(config)
        self.language_model = KosmosTextModel._from_config(config.text_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.embed_tokens = value

    def freeze_vision(self, trainable: str | None = None) -> None:
        """Let the whole tower learn (`all`), its last layer (`last_layer`, the paper's) or nothing (`none`).

        Without an argument, what the model was trained with.
        """
        trainable = self.config.vision_trainable if trainable is None else trainable
        if trainable not in ("all", "last_layer", "none"):
            raise ValueError(f"trainable is '{trainable}'; choose all, last_layer or none")
        if self.config.vision_config is None:
            return
        tower = self.vision_tower
        tower.requires_grad_(trainable == "all")
        if trainable == "last_layer":
            last = tower.last_layer if hasattr(tower, "last_layer") else tower.encoder.layers[-1]
            last.requires_grad_(True)
            tower.post_layernorm.requires_grad_(True)

    @can_return_tuple
    def get_image_features(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Normalised pixels [N, 3, S, S] -> `pooler_output` [N, L, D], scaled like the embeddings of words."""
        if self.config.vision_config is None:
            raise ValueError("this model reads text only: its vision_config is null")
        size = self.config.vision_config.image_size
        if pixel_values.ndim != 4 or pixel_values.shape[1:] != (3, size, size):
            raise ValueError(
                f"pixel_values is {list(pixel_values.shape)}, but this model reads [N, 3, {size}, {size}]; let the "
                "processor make them"
            )
        # A norm's, as quantised layers hold whole numbers.
        pixel_values = pixel_values.to(self.vision_tower.post_layernorm.weight.dtype)
        seen = self.vision_tower(pixel_values).last_hidden_state
        features = F.normalize(self.vision_tower.post_layernorm(seen), dim=-1)
        return BaseModelOutputWithPooling(
            last_hidden_state=features, pooler_output=self.multi_modal_projector(features)
        )

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        mm_encoder_outputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> KosmosModelOutputWithPast:
        """`pixel_values` [N, 3, S, S]: the pictures of all rows in order, whatever each row's number of them.

        `mm_encoder_outputs`: {"image": what `get_image_features` gave}, instead of `pixel_values`.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        encoded = (mm_encoder_outputs or {}).get("image")
        if encoded is None and pixel_values is not None:
            encoded = self.get_image_features(pixel_values, return_dict=True)
        images = None
        if encoded is not None:
            images = encoded.pooler_output
            inputs_embeds = self._fill_places(input_ids, inputs_embeds, images)
        outputs = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        return KosmosModelOutputWithPast(**outputs, image_hidden_states=images)

    def image_places(self, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        """bool [B, T], True at the places of pictures; in `inputs_embeds`, where the image token's embedding is."""
        token = self.config.image_token_id
        if input_ids is not None and input_ids.numel():
            return input_ids == token
        if inputs_embeds is None:
            raise ValueError("pictures need input_ids or inputs_embeds, which say where they stand")
        embedding = self.get_input_embeddings()(torch.full((), token, device=inputs_embeds.device))
        return (inputs_embeds == embedding).all(-1)

    def _fill_places(self, input_ids: Tensor | None, inputs_embeds: Tensor, images: Tensor) -> Tensor:
        places = self.image_places(input_ids, inputs_embeds)
        num_embeddings = images.shape[0] * images.shape[1]
        torch_compilable_check(
            places.sum() == num_embeddings,
            lambda: (
                f"{int(places.sum())} image tokens, but {len(images)} pictures take {num_embeddings}; let the "
                "processor write them"
            ),
        )
        images = images.to(inputs_embeds.device, inputs_embeds.dtype)
        return inputs_embeds.masked_scatter(places[..., None].to(inputs_embeds.device), images)


class KosmosForConditionalGeneration(KosmosPreTrainedModel, GenerationMixin):
    """KosmosModel with its head, tied to the embeddings; without pictures, a language model."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}
    _tp_plan = {"lm_head": "colwise_gather_output"}
    _pp_plan: ClassVar[dict[str, Any]] = {"lm_head": (["hidden_states"], ["logits"])}  # type: ignore[misc]

    def __init__(self, config: KosmosConfig) -> None:
        super().__init__(config)
        self.model = KosmosModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def get_image_features(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """As KosmosModel.get_image_features."""
        return self.model.get_image_features(pixel_values, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        mm_encoder_outputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> KosmosCausalLMOutputWithPast:
        """`labels` [B, T]: the tokens themselves, -100 where none is to be learned; they are shifted here.

        `logits_to_keep`: only the last so many positions, or those of an index.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            mm_encoder_outputs=mm_encoder_outputs,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=logits.shape[-1], **kwargs)
        return KosmosCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
        )

    def _prepare_multimodal_encoder_kwargs_for_generation(self, model_kwargs: dict[str, Any]) -> Any:
        """`generate` encodes a prompt's pictures here, once; `pixel_values=None` are none."""
        if model_kwargs.get("pixel_values") is None:
            model_kwargs.pop("pixel_values", None)
            return model_kwargs
        prepare: Any = super()._prepare_multimodal_encoder_kwargs_for_generation  # type: ignore[misc]
        return prepare(model_kwargs)

    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: Tensor,
        inputs_embeds: Tensor | None = None,  # by name, or `generate` takes no embeddings
        is_first_iteration: bool | None = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """As GenerationMixin's. Raises ValueError when the prompt has places for pictures and there are none."""
        prepare: Any = super().prepare_inputs_for_generation  # type: ignore[misc]
        made: dict[str, Any] = prepare(
            input_ids, inputs_embeds=inputs_embeds, is_first_iteration=is_first_iteration, **kwargs
        )
        ids = made.get("input_ids")
        pictures = made.get("pixel_values") is not None or made.get("mm_encoder_outputs")
        if is_first_iteration and ids is not None and not pictures and (ids == self.config.image_token_id).any():
            raise ValueError("image tokens in input_ids, but no pictures; give the processor's pixel_values too")
        return made

    def _expand_inputs_for_generation(  # type: ignore[override]
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Tensor | None = None,
        **model_kwargs: Any,
    ) -> tuple[Tensor | None, dict[str, Any]]:
        """A row's pictures stay together, and follow each of its beams: rows (A B) (C) become (A B) (A B) (C) (C)."""
        pixel_values = model_kwargs.pop("pixel_values", None)
        if pixel_values is not None:
            places = self.model.image_places(input_ids, model_kwargs.get("inputs_embeds"))
            counts = places.sum(-1) // self.config.image_seq_length
            groups = pixel_values.split(counts.tolist())
            pixel_values = torch.cat([group for group in groups for _ in range(expand_size)])
        expand: Any = super()._expand_inputs_for_generation  # type: ignore[misc]
        input_ids, model_kwargs = expand(
            expand_size=expand_size, is_encoder_decoder=is_encoder_decoder, input_ids=input_ids, **model_kwargs
        )
        if pixel_values is not None:
            model_kwargs["pixel_values"] = pixel_values
        return input_ids, model_kwargs


# `save_pretrained` copies this file and those it imports.
KosmosModel.register_for_auto_class("AutoModel")
KosmosForConditionalGeneration.register_for_auto_class("AutoModelForImageTextToText")

__all__ = [
    "LORA_TARGETS",
    "KosmosForConditionalGeneration",
    "KosmosModel",
    "KosmosPreTrainedModel",
    "KosmosTextModel",
]
