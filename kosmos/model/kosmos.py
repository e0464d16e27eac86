"""Kosmos: one sequence of text tokens and image embeddings, read by a causal decoder (paper section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from kosmos.batch import Batch
from kosmos.config import ModelConfig
from kosmos.errors import UsageError
from kosmos.model import weights
from kosmos.model.attention import KeyValueCache
from kosmos.model.decoder import Decoder
from kosmos.model.encoders import build_encoder
from kosmos.model.vision import check_random_vision, resolve_vision


class Saveable(Protocol):
    """What travels with the weights: tokenizer and preprocessing, as `kosmos.processor.Processor` saves them."""

    def save(self, folder: Path) -> None: ...


class Kosmos(nn.Module):
    """Decoder and encoders. Shapes as in `kosmos.batch`: B rows, T tokens, D hidden size, N images, L slots.

    Raises UsageError when the vision tower would be random and frozen, unless `random_vision`.
    """

    def __init__(self, config: ModelConfig, random_vision: bool = False) -> None:
        super().__init__()
        names = list(config.extra_modalities)
        if config.vision is not None:
            check_random_vision(config.vision, random_vision)
            config = replace(config, vision=resolve_vision(config.vision))
            names.insert(0, "image")
        self.config = config
        self.decoder = Decoder(config.decoder)
        self.encoders = nn.ModuleDict({name: build_encoder(name, config) for name in names})

    def encode_inputs(self, name: str, features: Tensor) -> Tensor:
        """Features [N, ...] of modality `name` -> embeddings [N, L, D], not yet scaled by sqrt(D).

        uint8 pixels are normalised; float pixels are taken as normalised already.
        """
        if name not in self.encoders:
            reason = "it was built with vision: null" if name == "image" else "add it to extra_modalities"
            raise UsageError(f"this model has no encoder for the modality '{name}': {reason}")
        embeddings: Tensor = self.encoders[name](features)
        return embeddings

    def embed(self, batch: Batch, embedded: Mapping[str, Tensor] | None = None) -> Tensor:
        """Rows of scaled embeddings [B, T, D], slots filled; `embedded` as in `forward`."""
        embeddings: Tensor = self.decoder.embedding(batch.token_ids)
        for name, inputs in batch.inputs.items():
            if embedded is not None and name in embedded:
                values = embedded[name]
            else:
                values = self.encode_inputs(name, inputs.features)
            if values.shape[:2] != inputs.slots.shape:
                raise UsageError(
                    f"modality '{name}': embeddings {list(values.shape[:2])} do not fit slots "
                    f"{list(inputs.slots.shape)} (segments, slots of each)"
                )
            # Images are scaled like words: the original scatters first and multiplies the whole row by sqrt(D).
            values = values.to(embeddings.dtype).flatten(0, 1) * self.decoder.embedding.scale
            embeddings = embeddings.flatten(0, 1).index_copy(0, inputs.slots.flatten(), values).view_as(embeddings)
        return embeddings

    def forward(
        self,
        batch: Batch,
        cache: KeyValueCache | None = None,
        embedded: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Hidden states [B, T, D] of the batch's rows.

        `embedded`: embeddings [N, L, D] by modality, computed before by `encode_inputs`, used instead of
        `batch.inputs[name].features`. With a `cache`, the rows continue what it holds, and it says positions and
        mask; `batch.segment_ids` is then not looked at.
        """
        hidden: Tensor = self.decoder(self.embed(batch, embedded), batch.segment_ids, cache)
        return hidden

    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., D] -> logits [..., V]; the matrix is the embedding's."""
        return self.decoder.head(hidden)

    @property
    def head_weight(self) -> Tensor:
        """[V, D], the matrix of `head`."""
        return self.decoder.embedding.weight

    def trainable_parameters(self) -> list[nn.Parameter]:
        """The parameters an optimizer may have; frozen ones would be moved by weight decay."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def save_pretrained(self, folder: str | Path, processor: Saveable | None = None) -> None:
        """Write config.yaml, model.safetensors and the processor's files into a new `folder`, or nothing at all.

        Raises UsageError when the folder exists and is not empty, StorageError when the disk refuses.
        """
        weights.save(self, self.config, Path(folder), processor)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Kosmos:
        """Read a folder of `save_pretrained`, in evaluation mode on the CPU.

        Raises DataError when it is not such a folder, StorageError when a file is damaged, ConfigError when weights
        and configuration do not fit.
        """
        folder = Path(folder)
        config = weights.read_config(folder)
        tensors = weights.read_tensors(folder)
        model = cls._without_values(config)
        weights.assign(model, tensors, folder)
        return model.eval()

    @classmethod
    def _without_values(cls, config: ModelConfig) -> Kosmos:
        """A model whose built-in parts wait on the meta device for their weights."""
        return weights.without_values(cls, config)
