"""Writes the job that isolated.py runs: exported folders, pictures, lm-eval tasks, and what our Engine and runner say.

python -m tests.interop.isolated_job RUN JOB    # of a run of yours, for a run of isolated.py by hand
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from kosmos.chat_format import chat_document
from kosmos.cli.main import main as kosmos
from kosmos.document import Document, Image, Segment, Text
from kosmos.evaluation.fixtures import write_fixture
from kosmos.inference.engine import Engine
from kosmos.inference.generation import Decoding
from kosmos.interop.transformers.exporting import export_folder
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from kosmos.runs import resolve

Part = tuple[str, str]
GREEDY = Decoding(max_new_tokens=10)
BEAMS = Decoding(max_new_tokens=10, num_beams=5, num_results=5)
REQUESTS: list[list[Part]] = [
    [("image", "a.png"), ("text", "an image of")],
    [("text", "two dogs"), ("image", "b.png"), ("text", " and the red"), ("image", "a.png"), ("text", "\nQuestion:")],
    [("text", "Question: what is it? </s> Answer:")],
    [("text", "an image of\nthe red cat and two dogs")],
    [("image", "b.png"), ("image", "a.png"), ("text", "Question: what is it? Answer: Yes")],
]
CHATS: list[list[tuple[str, list[Part]]]] = [
    [("user", [("image", "a.png"), ("text", "what is it?")])],
    [
        ("user", [("text", "what is"), ("image", "b.png"), ("text", "and the"), ("image", "a.png"), ("text", "</s>?")]),
        ("assistant", [("text", "a red cat <image>")]),
        ("user", [("text", "Yes or No?")]),
    ],
]
TASK = """task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
doc_to_text: "{{{{prompt}}}}"
"""
CHOICES = """output_type: multiple_choice
doc_to_choice: "{{candidates}}"
doc_to_target: label
target_delimiter: ""
metric_list:
  - metric: acc
"""
GENERATION = """output_type: generate_until
doc_to_image: !function pictures.read
doc_to_target: ""
generation_kwargs:
  until: ["</never>"]
  max_gen_toks: 6
metric_list:
  - metric: exact_match
"""
READ_PICTURES = """from PIL import Image


def read(doc):
    return [Image.open(path) for path in doc["pictures"]]
"""


def write_job(job: Path, sources: Mapping[str, Path]) -> None:
    """`sources` are named model folders or runs; the first is also lm-eval's, the first with vision its pictures'."""
    job.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    for name, (height, width) in {"a.png": (30, 44), "b.png": (50, 20)}.items():
        PIL.Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(job / name)
    folders: dict[str, Any] = {}
    for name, source in sources.items():
        export_folder(resolve(source), job / name)
        folders[name] = _expected(job, source)
    first = next(iter(sources))
    seeing = next(name for name in sources if folders[name]["vision"])
    lm_eval = {
        "hf": {"folder": first, "model_args": "", "tasks": _text_tasks(job, sources[first])},
        "hf-multimodal": {
            "folder": seeing,
            # It would put the name of `image_token_id`, the slot, where a picture goes.
            "model_args": ",image_string=<image>,max_images=2",
            "tasks": _picture_task(job, sources[seeing]),
        },
    }
    (job / "expected.json").write_text(json.dumps({"folders": folders, "lm_eval": lm_eval}, indent=1))


def _expected(job: Path, source: Path) -> dict[str, Any]:
    engine = _engine(source)
    vision = engine.processor.config.vision is not None
    requests = []
    for parts in REQUESTS:
        if not vision and any(kind == "image" for kind, _ in parts):
            continue
        document = Document(*_segments(job, parts))
        (greedy,) = engine.generate([document], options=[GREEDY])
        (beams,) = engine.generate([document], options=[BEAMS])
        requests.append({
            "parts": parts,
            "ids": engine.processor.encode(document, end=False).token_ids.tolist(),
            "greedy": [list(greedy.token_ids)],
            "beams": [list(one.token_ids) for one in (beams, *beams.others)],
            "greedy_text": greedy.text,
        })  # fmt: skip
    chats = []
    for turns in CHATS if vision else []:
        document = chat_document([(role, Document(*_segments(job, parts))) for role, parts in turns])  # type: ignore[misc]
        (answer,) = engine.generate([document.unsupervised()], options=[GREEDY])
        chats.append({
            "turns": [{"role": role, "content": parts} for role, parts in turns],
            "answer": answer.text,
        })  # fmt: skip
    decoding = {
        "greedy": {"max_new_tokens": GREEDY.max_new_tokens},
        "beams": {"max_new_tokens": BEAMS.max_new_tokens, "num_beams": 5, "num_return_sequences": 5},
    }
    return {"vision": vision, "requests": requests, "chats": chats, "decoding": decoding}


def _segments(job: Path, parts: list[Part]) -> list[Segment]:
    return [Image(job / said) if kind == "image" else Text(said, supervised=False) for kind, said in parts]


def _engine(source: Path) -> Engine:
    folder = resolve(source)
    return Engine(Kosmos.from_pretrained(folder), Processor.load(folder))


def _text_tasks(job: Path, source: Path) -> dict[str, Any]:
    """Made-up rows of three datasets, as `kosmos eval` prompts and scores them."""
    answers: dict[str, Any] = {}
    tasks = job / "tasks"
    tasks.mkdir()
    for name in ("boolq", "copa", "hellaswag"):
        write_fixture(name, job / "data", "hub")
        command = ["eval", str(source), "--tasks", name, "--data", str(job / "data"), "--prompt", "lm_eval"]
        if kosmos([*command, "--out", str(job / "report" / name), "--quiet"]) != 0:
            raise SystemExit(f"kosmos eval --tasks {name} failed")
        lines = (job / "report" / name / "samples" / f"{name}-lm_eval.jsonl").read_text().splitlines()
        samples = [json.loads(line) for line in lines]
        rows = [
            {"prompt": one["prompts"][0], "candidates": one["candidates"], "label": one["label"]} for one in samples
        ]
        _write_task(tasks, f"kosmos_{name}", rows, CHOICES)
        answers[f"kosmos_{name}"] = {"log_probs": [one["log_probs"] for one in samples]}
    return answers


def _picture_task(job: Path, source: Path) -> dict[str, Any]:
    """Prompts with pictures for lm-eval's hf-multimodal model, answered by our Engine."""
    prompts = [parts for parts in REQUESTS if any(kind == "image" for kind, _ in parts)]
    engine = _engine(source)
    answers = engine.generate(
        [Document(*_segments(job, parts)) for parts in prompts], options=[Decoding(max_new_tokens=6)] * len(prompts)
    )
    rows = [
        {
            "prompt": "".join("<image>" if kind == "image" else said for kind, said in parts),
            "pictures": [str(job / said) for kind, said in parts if kind == "image"],
        }
        for parts in prompts
    ]
    (job / "tasks" / "pictures.py").write_text(READ_PICTURES)
    _write_task(job / "tasks", "kosmos_pictures", rows, GENERATION)
    return {"kosmos_pictures": {"texts": [answer.text.strip() for answer in answers]}}


def _write_task(tasks: Path, name: str, rows: list[dict[str, Any]], body: str) -> None:
    data = tasks / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tasks / f"{name}.yaml").write_text(TASK.format(name=name, data=data) + body)


if __name__ == "__main__":
    write_job(Path(sys.argv[2]).absolute(), {"run": Path(sys.argv[1])})
