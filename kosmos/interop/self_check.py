"""Logits of a converted model against the original's on a few rows: what every conversion shows before it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kosmos.batch import Batch, SlotInput, collate
from kosmos.batch import Sequence as Row
from kosmos.config import ModelConfig, VisionConfig
from kosmos.errors import DataError, UsageError
from kosmos.inference.memory import is_out_of_memory
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor

# Of `relative_difference`, for logits and features alike. Rounding alone gives some 5e-7, so a bit-equal conversion has
# room; an absolute limit would not do, as rounding grows with the logits.
TOLERANCE = 1e-5
_PICTURES = {"text": 0, "one picture": 1, "three pictures": 3}
_WORDS = 6  # random pieces before, between and after pictures


@dataclass(frozen=True)
class Probe:
    """One row of random pieces and pictures: token_ids [1, T]; pictures uint8 [N, 3, S, S], or none."""

    name: str
    batch: Batch
    config: ModelConfig

    @property
    def slots(self) -> Tensor:
        """bool [1, T], True where a picture's embeddings go."""
        mask = torch.zeros_like(self.batch.token_ids, dtype=torch.bool)
        if self.batch.inputs:
            mask.view(-1)[self.batch.inputs["image"].slots.flatten()] = True
        return mask

    @property
    def pixels(self) -> Tensor | None:
        """The pictures as CLIP takes them: fp32 [N, 3, S, S], normalised; None without pictures."""
        if not self.batch.inputs:
            return None
        vision = self.config.vision
        assert vision is not None
        mean, deviation = (torch.tensor(value).view(3, 1, 1) for value in (vision.image_mean, vision.image_std))
        return (self.batch.inputs["image"].features.float() / 255 - mean) / deviation


def make_probes(processor: Processor) -> list[Probe]:
    """Rows without, with one and with three pictures (text alone for a model without vision); always the same."""
    config, tokenizer = processor.config, processor.tokenizer
    random = np.random.default_rng(7)
    made = []
    for name, count in _PICTURES.items():
        if count and config.vision is None:
            continue
        ids, inputs = [tokenizer.bos_id], []
        for index in range(count + 1):
            ids += random.integers(4, tokenizer.slot_id, _WORDS).tolist()
            if index < count:
                assert config.vision is not None
                ids.append(tokenizer.special_id("<image>"))
                inputs.append(
                    SlotInput("image", len(ids), config.resampler.num_latents, _pixels(random, config.vision))
                )
                ids += [tokenizer.slot_id] * config.resampler.num_latents + [tokenizer.special_id("</image>")]
        row = Row(np.asarray(ids, np.int64), np.zeros(len(ids), bool), tuple(inputs))
        made.append(Probe(name, collate([row], pad_id=tokenizer.pad_id), config))
    return made


def _pixels(random: np.random.Generator, vision: VisionConfig) -> np.ndarray:
    return random.integers(0, 256, (3, vision.image_size, vision.image_size)).astype(np.uint8)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars of transformers while it loads or saves."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def transformers_loads(folder: Path) -> Iterator[None]:
    """Quietly; DataError for the many types that transformers raises of a folder that it cannot load."""
    try:
        with quiet_transformers():
            yield
    except MemoryError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{folder}: transformers cannot load it: {lines[0]}") from error


@torch.no_grad()
def native_logits(folder: Path, probes: Sequence[Probe]) -> list[Tensor]:
    """Logits [T, V] of a folder of ours for each probe."""
    model = Kosmos.from_pretrained(folder)
    return [model.head(model(probe.batch))[0].float() for probe in probes]


def check_conversion(
    processor: Processor,
    original: Callable[[list[Probe]], list[Tensor]],
    converted: Callable[[list[Probe]], list[Tensor]],
    say: Callable[[str], None],
    check: bool = True,
) -> None:
    """`compare_logits` of both sides on `make_probes`; without `check`, what was left out is said."""
    if not check:
        say("warning: the check of both sides' logits was left out (--skip-check)")
        return
    probes = make_probes(processor)
    compare_logits(probes, partial(original, probes), partial(converted, probes), say)


def relative_difference(wanted: Tensor, found: Tensor) -> float:
    """The measure of every check: the largest difference, over the largest of `wanted` or 1, whichever is more.

    A NaN on either side is a difference too, and the largest: infinite.
    """
    difference = float((wanted - found).abs().max()) / max(1.0, float(wanted.abs().max()))
    return difference if difference == difference else float("inf")


def measure_in_words(of: str) -> str:
    """What stands behind the figures of a check: `of` is logit or feature."""
    return f"relative to the largest {of}, or to 1; the limit is {TOLERANCE:.0e}"


def compare_logits(
    probes: Sequence[Probe],
    original: Callable[[], list[Tensor]],
    converted: Callable[[], list[Tensor]],
    say: Callable[[str], None],
) -> float:
    """Run both sides, one after the other so that memory holds one of them, and tell the largest differences.

    Where the original has more entries in its vocabulary, the first ones are compared. Returns the largest
    `relative_difference`. Raises DataError when it is above TOLERANCE, UsageError when memory does not suffice.
    """
    try:
        wanted, found = original(), converted()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UsageError(
            "not enough memory to run both sides of the conversion; use a larger machine, or leave the check out "
            "with --skip-check"
        ) from error
    differences = [relative_difference(one[:, : other.shape[1]], other) for one, other in zip(wanted, found)]
    parts = ", ".join(f"{probe.name} {difference:.1e}" for probe, difference in zip(probes, differences))
    largest = max(differences)
    if largest > TOLERANCE:
        raise DataError(
            f"the converted model's logits differ by {largest:.1e} from the original's ({parts}), "
            f"{measure_in_words('logit')}; nothing was written"
        )
    say(f"check: logits of both sides differ by at most {largest:.1e} ({parts}), {measure_in_words('logit')}")
    return largest
