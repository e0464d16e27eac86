"""docs/transformers.md, run as it stands, and the limits that it names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
from transformers import AutoProcessor, pipeline

from kosmos.document import Document, Text
from kosmos.interop.transformers.exporting import export_folder
from kosmos.interop.transformers.processor import to_transformers
from kosmos.processor import Processor
from tests.documents.reading import REPOSITORY
from tests.inference.tiny import save_tiny, tiny_config, tiny_tokenizer

RUN = """
import json
from pathlib import Path
from tests.documents.running import run_document
print(json.dumps(list(run_document("docs/transformers.md", Path.cwd()).values())))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("exported")
    export_folder(save_tiny(work), work / "out")
    return work / "out"


def test_the_document(tmp_path: Path) -> None:
    for package in ("lm_eval", "peft", "accelerate", "datasets"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    (tmp_path / "runs").mkdir()
    save_tiny(tmp_path).rename(tmp_path / "runs" / "demo")
    PIL.Image.new("RGB", (40, 30), (200, 30, 30)).save(tmp_path / "cat.png")
    # In a process of its own: what `register` registers stays registered.
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    _, asked, parameters, several, escaped, lora, _ = json.loads(done.stdout.splitlines()[-1])
    assert int(parameters) > 10_000
    assert len(asked.splitlines()) >= 2
    assert several.startswith("[") and several.count(",") >= 2
    assert int(escaped) > 3 + 10
    assert "trainable params:" in lora
    (results,) = tmp_path.glob("results/**/results_*.json")
    figures = json.loads(results.read_text())
    assert figures["results"]["colours"]["acc,none"] in (0.0, 0.5, 1.0)
    assert figures["n-samples"]["colours"] == {"original": 2, "effective": 2}


def test_no_offsets_and_no_mask_of_the_answer(exported: Path) -> None:
    processor: Any = AutoProcessor.from_pretrained(exported, trust_remote_code=True)
    chat = [{"role": "user", "content": "it?"}, {"role": "assistant", "content": "Yes"}]
    with pytest.raises(ValueError, match="return_assistant_tokens_mask"):
        processor.apply_chat_template(chat, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    assert "offset_mapping" not in processor.tokenizer("it", return_offsets_mapping=True)


def test_what_transformers_opens_itself_loses_transparency(exported: Path, tmp_path: Path) -> None:
    """A red picture that cannot be seen: white for us, red for the pipeline's own loading."""
    PIL.Image.new("RGBA", (16, 16), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    ask: Any = pipeline("image-text-to-text", model=str(exported), trust_remote_code=True)
    loaded = ask.preprocess({"images": str(tmp_path / "clear.png"), "text": "<image>it"})["pixel_values"]
    ours = ask.processor(images=str(tmp_path / "clear.png"), text="<image>it", return_tensors="pt")["pixel_values"]
    mean, deviation = (np.array(getattr(ask.image_processor, name)) for name in ("image_mean", "image_std"))
    assert np.allclose(ours[0, :, 0, 0], (np.array([1, 1, 1]) - mean) / deviation)
    assert np.allclose(loaded[0, :, 0, 0], (np.array([1, 0, 0]) - mean) / deviation)


def test_lm_eval_joins_letters_that_our_runner_keeps_apart(tmp_path: Path) -> None:
    """`o` and `f` are one word for lm-eval, which then takes the first tokens of `of` for the context's."""
    models: Any = pytest.importorskip("lm_eval.api.model", reason="lm-eval is not installed")
    tokenizer = tiny_tokenizer(tmp_path)
    processor = Processor(tokenizer, tiny_config(tokenizer.vocab_size))
    theirs = to_transformers(processor).tokenizer
    encoder = SimpleNamespace(
        backend="causal", tok_encode=lambda text, add_special_tokens=True: theirs(text)["input_ids"]
    )

    def pair(context: str, answer: str) -> tuple[list[int], list[int]]:
        """lm-eval's tokens of an answer, and ours."""
        row = processor.encode(Document(Text(context, supervised=False), Text(answer)), end=False)
        made: list[int] = models.TemplateLM._encode_pair(encoder, context, answer)[1]
        return made, row.token_ids[row.supervised].tolist()

    usual, ours = pair("Question: what is it? Answer:", " a red cat")
    assert usual == ours == tokenizer.encode(" a red cat")
    joined, ours = pair("an image o", "f the cat")
    assert ours == tokenizer.encode("f the cat")
    assert joined == tokenizer.encode("an image of the cat")[len(tokenizer.encode("an image o")) :] != ours
