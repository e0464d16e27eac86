"""torchrun starts the ranks again after one has died: the run resumes by itself, to the same result.

    python -m benchmarks.training.crash.restarts [--kills 6]

`torchrun --nproc-per-node 2 --max-restarts 2`; one rank dies once, by SIGKILL or by an error, while it reads data, in a
step, or in a save, before or after the first checkpoint. Nobody says `resume`. The result must be bit for bit that of
two ranks that were left alone.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.data import measure
from benchmarks.training.crash import setting, trace
from benchmarks.training.crash.processes import left_alone
from benchmarks.training.crash.torchrun import torchrun
from kosmos.config_files import save_config

# (rank, how it dies, where, asynchronous checkpoints)
DEATHS = [
    (1, "killed", "step 7: backward", False),
    (0, "killed", "save: weights", True),
    (1, "failed", "data: make rows", False),
    (0, "killed", "step 2: forward", False),
    (1, "killed", "save: optimizer", False),
    (0, "failed", "step 9: apply", True),
]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=len(DEATHS))
    args = options.parse_args(argv)
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="kosmos-restarts-") as name:
        folder = Path(name)
        setting.make_corpora(folder / "corpora")
        recipe = setting.make_recipe(folder / "corpora", steps=12)
        left_alone(recipe, folder / "alone", 2)
        for number, (rank, death, phase, asynchronous) in enumerate(DEATHS[: args.kills]):
            save_config(setting.changed(recipe, asynchronous), folder / "recipe.yaml")
            run, file = folder / "run", folder / "trace"
            arguments = [str(Path(__file__).with_name("launched.py")), str(folder / "recipe.yaml"), str(run), str(file)]
            launch = torchrun([*arguments, str(rank), death, phase], restarts=2)
            last = trace.told(trace.doing(file, 2))
            print(f"death {number + 1}/{args.kills}  rank {rank} {death} in `{phase}`: {last}; {launch.seconds:.0f} s")
            found = setting.differences(run, folder / "alone", recipe.steps) if launch.code == 0 else []
            if launch.code or found:
                failures.append(
                    f"rank {rank} {death} in {phase}: exit code {launch.code}, {found}\n{launch.output[-3000:]}"
                )
            shutil.rmtree(run, ignore_errors=True)
    for failure in failures:
        print(failure, file=sys.stderr)
    result = {"deaths": len(DEATHS[: args.kills]), "failures": len(failures)}
    measure.finish("crash restarts", result)
    return result


if __name__ == "__main__":
    sys.exit(1 if main()["failures"] else 0)
