"""What a stranger does with an exported folder, without our package: run by test_isolated.py in a process of its own.

    python -I isolated.py JOB [--refuse-kosmos]

JOB holds exported folders and expected.json, written by our Engine and runner beforehand. Each check compares and puts
its figures into JOB/found.json. Without --refuse-kosmos the package must not be installed at all.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

LORA_TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|out_proj)"


class Refuse(importlib.abc.MetaPathFinder):
    """Makes our package unknown to this process."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.partition(".")[0] == "kosmos":
            raise ModuleNotFoundError(f"No module named '{fullname}'", name=fullname)


def main(job: Path) -> None:
    check_that_kosmos_is_absent()
    expected = json.loads((job / "expected.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = {"python": sys.executable}
    for name, folder in expected["folders"].items():
        found[name] = run_folder(job, job / name, folder)
    found["lm_eval"] = run_lm_eval(job, expected["lm_eval"])
    check_that_kosmos_is_absent()
    (job / "found.json").write_text(json.dumps(found, indent=1), encoding="utf-8")


def check_that_kosmos_is_absent() -> None:
    try:
        import kosmos  # noqa: F401
    except ModuleNotFoundError:
        pass
    else:
        raise SystemExit("kosmos is installed here; give --refuse-kosmos or take another environment")
    assert not any(name.partition(".")[0] == "kosmos" for name in sys.modules)


def run_folder(job: Path, folder: Path, expected: dict[str, Any]) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

    trusted: dict[str, Any] = {"trust_remote_code": True}
    found: dict[str, Any] = {"classes": {}}
    for auto in (AutoTokenizer, AutoProcessor):
        found["classes"][auto.__name__] = type(auto.from_pretrained(folder, **trusted)).__name__
    model_class: Any = AutoModelForImageTextToText if expected["vision"] else AutoModelForCausalLM
    model = model_class.from_pretrained(folder, dtype=torch.float32, **trusted).eval()
    processor = AutoProcessor.from_pretrained(folder, **trusted)
    found["classes"][model_class.__name__] = type(model).__name__
    requests = [read_request(job, request) for request in expected["requests"]]
    found["ids_equal"] = [
        processor(text=text, **with_images(images))["input_ids"] in ([request["ids"]], request["ids"])
        for (text, images), request in zip(requests, expected["requests"])
    ]
    for name, options in expected["decoding"].items():
        made = [generate(model, processor, text, images, options) for text, images in requests]
        found[name] = [one == request[name] for one, request in zip(made, expected["requests"])]
    found["padded"] = padded_batch(model, processor, requests)
    if expected["vision"]:
        found["pipeline"] = pipelines(job, folder, expected)
    found["lora"] = lora_step(model, processor, requests)
    return found


def read_request(job: Path, request: dict[str, Any]) -> tuple[str, list[Any]]:
    from PIL import Image

    text = "".join("<image>" if kind == "image" else said for kind, said in request["parts"])
    return text, [Image.open(job / said) for kind, said in request["parts"] if kind == "image"]


def with_images(images: list[Any]) -> dict[str, Any]:
    return {"images": images} if images else {}


def generate(model: Any, processor: Any, text: str, images: list[Any], options: dict[str, Any]) -> list[list[int]]:
    """The new tokens of every result, up to and with `</s>`."""
    inputs = processor(text=text, return_tensors="pt", **with_images(images))
    made = model.generate(**inputs, do_sample=False, **options)[:, inputs["input_ids"].shape[1] :].tolist()
    return [row[: row.index(2) + 1] if 2 in row else row for row in made]


def padded_batch(model: Any, processor: Any, requests: list[tuple[str, list[Any]]]) -> dict[str, Any]:
    """All requests as one left-padded batch against each alone: next-token logits and greedy tokens."""
    import torch

    nested = [images for _, images in requests]
    batch = processor(
        text=[text for text, _ in requests],
        padding=True,
        return_tensors="pt",
        **({"images": nested} if any(nested) else {}),
    )
    with torch.no_grad():
        together = model(**batch).logits[:, -1]
        alone = torch.cat(
            [model(**processor(text=t, return_tensors="pt", **with_images(i))).logits[:, -1] for t, i in requests]
        )
    made = model.generate(**batch, do_sample=False, max_new_tokens=8)[:, batch["input_ids"].shape[1] :].tolist()
    single = [generate(model, processor, text, images, {"max_new_tokens": 8})[0] for text, images in requests]
    return {
        "rows": len(requests),
        "padding": int((batch["attention_mask"] == 0).sum()),
        "left": bool((batch["attention_mask"][:, -1] == 1).all()),
        "difference": float((together - alone).abs().max()),
        "tokens_equal": all(row[: len(one)] == one for row, one in zip(made, single)),
    }


def pipelines(job: Path, folder: Path, expected: dict[str, Any]) -> dict[str, bool]:
    """`pipeline("image-text-to-text")` on chats with pictures between words, one and several, and on plain text."""
    from PIL import Image
    from transformers import pipeline

    made: Any = pipeline("image-text-to-text", model=str(folder), trust_remote_code=True, dtype="float32")
    options = {"return_full_text": False, "max_new_tokens": expected["decoding"]["greedy"]["max_new_tokens"]}
    chats = [
        [
            {
                "role": turn["role"],
                "content": [
                    {"type": "image", "image": Image.open(job / said)}
                    if kind == "image"
                    else {"type": "text", "text": said}
                    for kind, said in turn["content"]
                ],
            }
            for turn in chat["turns"]
        ]
        for chat in expected["chats"]
    ]
    answers = [chat["answer"] for chat in expected["chats"]]
    requests = [read_request(job, request) for request in expected["requests"] if "greedy_text" in request]
    texts = [request["greedy_text"] for request in expected["requests"] if "greedy_text" in request]
    plain = [made(images=images or None, text=text, **options) for text, images in requests]
    return {
        "chats": [one_text(made(text=chat, **options)) for chat in chats] == answers,
        "chats_at_once": [one_text(one) for one in made(text=chats, **options)] == answers,
        "plain": [one_text(one) for one in plain] == texts,
    }


def one_text(answer: Any) -> str:
    """The generated text, without the spaces before its first word."""
    while isinstance(answer, list):
        answer = answer[0]
    return str(answer["generated_text"]).lstrip(" ")


def lora_step(model: Any, processor: Any, requests: list[tuple[str, list[Any]]]) -> dict[str, Any]:
    """One step of AdamW on LoRA's weights: the loss falls, nothing else moves."""
    import torch
    from peft import LoraConfig, get_peft_model

    text, images = requests[0]
    inputs = processor(text=text, return_tensors="pt", **with_images(images))
    labels = inputs["input_ids"].clone()
    labels[:, :-3] = -100
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=LORA_TARGETS)).eval()
    trained = [(name, value) for name, value in adapted.named_parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW([value for _, value in trained], lr=1e-2)
    first = adapted(**inputs, labels=labels).loss
    first.backward()
    optimizer.step()
    with torch.no_grad():
        second = adapted(**inputs, labels=labels).loss
    after = adapted.unload().state_dict()
    return {
        "trained": len(trained),
        "outside": [name for name, _ in trained if "lora" not in name or "language_model" not in name],
        "loss": [float(first), float(second)],
        "base_unchanged": before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before),
    }


def run_lm_eval(job: Path, expected: dict[str, Any]) -> dict[str, Any]:
    """lm-eval's own command line with its own hf and hf-multimodal models; log-likelihoods against our runner's."""
    from lm_eval.__main__ import cli_evaluate

    found: dict[str, Any] = {}
    for model, run in expected.items():
        out = job / f"lm_eval-{model}"
        arguments = f"pretrained={job / run['folder']},trust_remote_code=True,dtype=float32{run['model_args']}"
        sys.argv = ["lm_eval", "--model", model, "--model_args", arguments, "--tasks", ",".join(run["tasks"]),
                    "--include_path", str(job / "tasks"), "--device", "cpu", "--batch_size", "3",
                    "--log_samples", "--output_path", str(out)]  # fmt: skip
        cli_evaluate()
        for task, answers in run["tasks"].items():
            (samples,) = out.rglob(f"samples_{task}_*.jsonl")
            rows = sorted(
                (json.loads(line) for line in samples.read_text().splitlines()), key=lambda row: row["doc_id"]
            )
            found[task] = compare(rows, answers)
    return found


def compare(rows: list[dict[str, Any]], answers: dict[str, Any]) -> dict[str, Any]:
    """lm-eval's samples against our runner's log-probabilities or our Engine's texts."""
    if "texts" in answers:
        return {"items": len(rows), "equal": [row["resps"][0][0].strip() for row in rows] == answers["texts"]}
    made = [[float(answer[0][0]) for answer in row["resps"]] for row in rows]
    assert [len(one) for one in made] == [len(one) for one in answers["log_probs"]]
    pairs = [(a, b) for row, our in zip(made, answers["log_probs"]) for a, b in zip(row, our)]
    return {"items": len(rows), "pairs": len(pairs), "difference": max(abs(a - b) for a, b in pairs)}


if __name__ == "__main__":
    if "--refuse-kosmos" in sys.argv:
        sys.meta_path.insert(0, Refuse())
    main(Path(sys.argv[1]))
