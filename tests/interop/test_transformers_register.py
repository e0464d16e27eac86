"""`register` lets the Auto classes load an exported folder without trusting the code in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kosmos.document import Document, Image
from kosmos.errors import ConfigError
from kosmos.inference.engine import Engine
from kosmos.interop.transformers.exporting import export_folder
from kosmos.model.kosmos import Kosmos
from kosmos.processor import Processor
from tests.inference.tiny import save_tiny

# In a process of its own: what it registers stays registered.
SCRIPT = """
import json, sys
from pathlib import Path
from transformers import (AutoConfig, AutoImageProcessor, AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText,
                          AutoProcessor, AutoTokenizer, pipeline)
from kosmos.interop.transformers import register

folder, saved = Path(sys.argv[1]), Path(sys.argv[1] + "-saved")
register()
register()
autos = [AutoConfig, AutoImageProcessor, AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor,
         AutoTokenizer]
classes = {auto.__name__: type(auto.from_pretrained(folder)) for auto in autos}
ask = pipeline("image-text-to-text", model=str(folder))
text = "<image>an image of"
answer = ask(images=str(folder.parent / "a.png"), text=text, return_full_text=False, max_new_tokens=8)
ask.model.save_pretrained(saved)
ask.processor.save_pretrained(saved)
again = pipeline("image-text-to-text", model=str(saved))
repeated = again(images=str(folder.parent / "a.png"), text=text, return_full_text=False, max_new_tokens=8)
print(json.dumps({
    "names": {auto: made.__name__ for auto, made in classes.items()},
    "modules": sorted({made.__module__.rpartition(".")[0] for made in classes.values()}),
    "answer": answer[0]["generated_text"], "repeated": repeated[0]["generated_text"],
}))
"""


def test_auto_classes_and_pipeline_use_the_installed_code(tmp_path: Path) -> None:
    source = save_tiny(tmp_path)
    export_folder(source, tmp_path / "out")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    for code in (tmp_path / "out").glob("*.py"):
        code.write_text("raise SystemExit('the code in the folder was run')\n")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "out")],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "run the custom code?" not in done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["names"] == {
        "AutoConfig": "KosmosConfig",
        "AutoImageProcessor": "KosmosImageProcessor",
        "AutoModel": "KosmosModel",
        "AutoModelForCausalLM": "KosmosForConditionalGeneration",
        "AutoModelForImageTextToText": "KosmosForConditionalGeneration",
        "AutoProcessor": "KosmosProcessor",
        "AutoTokenizer": "KosmosTokenizer",
    }
    assert found["modules"] == ["kosmos.interop.remote_code"]
    engine = Engine(Kosmos.from_pretrained(source), Processor.load(source))
    (ours,) = engine.greedy([engine.prefill(Document(Image(pixels), "an image of"))], max_new_tokens=8)
    assert found["answer"].lstrip(" ") == ours.text
    assert ours.text
    assert found["repeated"] == found["answer"]
    assert not (tmp_path / "out-saved" / "processing_kosmos.py").exists()  # it loads where the package is


def test_without_transformers_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    monkeypatch.delitem(sys.modules, "kosmos.interop.transformers", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"transformers cannot be used .*; pip install 'transformers>=5.21,<6'"):
        importlib.import_module("kosmos.interop.transformers")
