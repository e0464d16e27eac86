"""The blocks of the documents that no test runs as they stand, each with the reason; `test_parsing.py` parses them."""

from __future__ import annotations

GPUS = "needs several GPUs"
NETWORK = "needs data from the network"
MINUTES = "minutes of a core or a GPU"

# (document, beginning of the block's first command) -> why.
NOT_RUN: dict[tuple[str, str], str] = {
    ("docs/evaluation.md", "kosmos eval prepare boolq"): f"{NETWORK}; tests/cli/eval/test_prepare.py serves it",
    (
        "docs/evaluation.md",
        "torchrun --nproc-per-node 8",
    ): f"{GPUS}; tests/evaluation/running/test_benchmark_runner.py has ranks",
    ("docs/evaluation.md", "python -m kosmos.interop.lm_eval"): f"{NETWORK}; tests/interop/test_lm_eval.py has a task",
    ("docs/evaluation.md", "kosmos eval runs/kosmos --tasks vqav2_test"): "a GPU; tests/cli/eval/test_submission.py",
    ("docs/scale.md", "torchrun --nproc-per-node 8 --max-restarts 3"): GPUS,
    ("docs/scale.md", "torchrun --nnodes 2"): GPUS,
    ("docs/scale.md", "sbatch"): f"{GPUS} and Slurm; tests/training/test_slurm.py runs the script",
    ("docs/scale.md", "torchrun --nproc-per-node 8 -m kosmos train kosmos-1-instruct"): GPUS,
    ("docs/scale.md", "kosmos train kosmos-1-twin"): f"{MINUTES}; tests/training/test_programmes.py runs it shortened",
    ("docs/scale.md", "python -m benchmarks.training.full_size"): f"{MINUTES}; tests/benchmarks/test_full_size.py",
    ("docs/tutorials/many_gpus.md", "kosmos data prepare /data"): f"{NETWORK}; terabytes of them",
    (
        "docs/tutorials/many_gpus.md",
        "torchrun --nproc-per-node 2",
    ): f"{MINUTES}; tests/training/test_slurm.py has ranks",
    ("docs/tutorials/many_gpus.md", "sbatch"): f"{GPUS} and Slurm; tests/training/test_slurm.py runs the script",
    ("docs/tutorials/many_gpus.md", "kosmos evaluate"): "waits for a run on GPUs; tests/cli/test_follow.py",
    ("docs/tutorials/table1.md", "kosmos eval prepare boolq"): f"{NETWORK}; tests/cli/eval/test_prepare.py serves it",
    ("docs/tutorials/table1.md", "torchrun"): f"{GPUS}; tests/evaluation/running/test_benchmark_runner.py has ranks",
    ("docs/weights.md", "hf download microsoft"): f"{NETWORK}; tests/interop/kosmos2_folder.py writes such a folder",
    ("docs/weights.md", "hf download openai"): f"{NETWORK}; tests/interop/test_clip_folder.py writes such a folder",
    ("docs/transformers.md", "python -m tests.interop.isolated_job"): (
        "needs a second environment; tests/interop/test_isolated.py runs both with the package hidden"
    ),
    ("docs/transformers.md", "vllm serve"): "vLLM is not installed; tests/interop has the steps of its backend",
    ("docs/gallery.md", "python examples/gallery/make_page.py"): "writes the page itself; tests/test_examples.py",
    ("docs/gallery.md", "python examples/gallery/03_ocr.py"): "run by tests/test_examples.py on a small run",
}
