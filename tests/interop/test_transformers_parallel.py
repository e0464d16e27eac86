"""The tensor-parallel plan, on two processes: sub-LayerNorms need what is shared to be gathered at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from kosmos.interop.transformers.exporting import write_model
from kosmos.tokenizer import Tokenizer
from tests.interop.twins import make_twins


def test_two_ranks_that_share_the_decoder_compute_what_one_does(tokenizer: Tokenizer, tmp_path: Path) -> None:
    twins = make_twins(tokenizer, "xpos-conv")
    write_model(twins.processor, dict(twins.ours.state_dict()), tmp_path)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    ran = subprocess.run(
        [*launcher, "-m", "tests.interop.two_ranks", str(tmp_path)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = [float(number) for number in re.findall(r"difference (\S+)", ran.stdout)]
    assert len(found) == 2 and max(found) < 1e-5
