"""CLIP folders of transformers, whole models or vision towers, as the folder that `vision.pretrained` reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from kosmos.config import VisionConfig
from kosmos.config_files import dump_yaml
from kosmos.errors import DataError
from kosmos.interop.preprocessing import read_preprocessing
from kosmos.interop.self_check import TOLERANCE, measure_in_words, quiet_transformers, relative_difference
from kosmos.interop.stored_weights import check_indexes
from kosmos.model import weights
from kosmos.model.clip_tower import load_clip, read_clip, stored_vision

Say = Callable[[str], None]
_PICTURES = 3
# What a recipe must say of a tower; the rest of VisionConfig is either the same for all or the reader's choice.
_SHAPE = (
    "image_size",
    "patch_size",
    "hidden_size",
    "num_layers",
    "num_heads",
    "ffn_size",
    "activation",
    "layer_norm_eps",
)
_NORMALIZATION = ("image_mean", "image_std")


def import_clip(folder: Path, out: Path, *, check: bool = True, say: Say = print) -> str:
    """Write the vision tower of a CLIP folder, alone and in fp32, into the new folder `out`, or nothing at all.

    Returns the `model.vision` part of a recipe that starts from it. Raises ConfigError for an activation that is not
    supported, DataError or StorageError when weights are missing or damaged, UsageError when `out` exists.
    """
    weights.refuse_existing(out)
    check_indexes(folder)
    fields, notes = read_preprocessing(folder)
    config = stored_vision(str(folder), **fields)
    with quiet_transformers():
        model = read_clip(str(folder))
    count = sum(parameter.numel() for parameter in model.parameters())
    say(f"{folder}: CLIP's vision tower, {count:,} parameters, activation {config.activation}")
    for note in notes:
        say(f"note: {note}")

    def fill(temporary: Path) -> None:
        with quiet_transformers():
            model.save_pretrained(temporary)
            if check:
                _compare(folder, temporary, config, say)
        if not check:
            say("warning: the check of both sides' features was left out (--skip-check)")

    weights.write_folder(out.absolute(), fill)
    return recipe_part(config, out)


def recipe_part(config: VisionConfig, out: Path) -> str:
    """YAML of `model.vision` for a recipe that starts from the folder `out`."""
    plain = VisionConfig()
    said = [name for name in _NORMALIZATION if getattr(config, name) != getattr(plain, name)]
    vision = {"kind": "clip", "pretrained": str(out)} | {name: getattr(config, name) for name in (*_SHAPE, *said)}
    return dump_yaml({"model": {"vision": vision}}).decode()


@torch.no_grad()
def _compare(folder: Path, made: Path, config: VisionConfig, say: Say) -> None:
    """Features of random pictures by transformers' model of `folder`, and by the tower built from `made`."""
    shape = (_PICTURES, 3, config.image_size, config.image_size)
    pixels = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    theirs = read_clip(str(folder)).eval()
    # All positions through the last norm and to length 1, as Kosmos-2 takes them.
    hidden = theirs(pixel_values=pixels).last_hidden_state
    wanted = F.normalize(theirs.post_layernorm(hidden), dim=-1)
    found: Tensor = load_clip(config, str(made)).eval()(pixels)
    difference, measure = relative_difference(wanted, found), measure_in_words("feature")
    if difference > TOLERANCE:
        raise DataError(
            f"the tower's features differ by {difference:.1e} from the original's, {measure}; nothing was written"
        )
    say(f"check: features of both sides differ by at most {difference:.1e} ({_PICTURES} pictures), {measure}")
