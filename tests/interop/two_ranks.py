"""What test_transformers_parallel runs on each rank: `two_ranks.py FOLDER` prints the largest difference of logits."""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers.distributed.configuration_utils import DistributedConfig

from kosmos.interop.remote_code.modeling_kosmos import KosmosForConditionalGeneration


@torch.no_grad()
def main(folder: str) -> None:
    load: Any = KosmosForConditionalGeneration.from_pretrained
    whole = load(folder)
    shared = load(folder, distributed_config=DistributedConfig(tp_plan="auto"))
    weight = shared.model.language_model.layers[0].self_attn.q_proj.weight
    assert isinstance(weight, DTensor)
    assert weight.to_local().shape[0] * int(os.environ["WORLD_SIZE"]) == weight.shape[0]
    token_ids = torch.arange(4, 24)[None]
    difference = (whole(token_ids).logits - shared(token_ids).logits).abs().max()
    print(f"difference {float(difference):.1e}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
