"""`kosmos export` of trained runs and imported models, in every form, and the way back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kosmos.cli.main import main
from kosmos.config import ModelConfig
from kosmos.config_files import load_config
from kosmos.model import weights
from tests.cli.process import Command, one_line, snapshot
from tests.cli.tiny_run import png
from tests.interop.kosmos2_folder import small_tokenizer, write_kosmos2

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def sinusoidal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imported Kosmos-2."""
    folder = tmp_path_factory.mktemp("export")
    write_kosmos2(folder / "kosmos-2", small_tokenizer(folder))
    assert main(["import", str(folder / "kosmos-2"), str(folder / "model")]) == 0
    return folder / "model"


def test_a_run_becomes_a_folder_that_verbs_read(
    tiny_run: Path, kosmos: Command, kosmos_here: Command, tmp_path: Path
) -> None:
    done = kosmos("export", tiny_run, "out", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    check, last = done.stdout.splitlines()
    assert check.startswith("check: logits of both sides differ by at most 0.0e+00 ")
    assert last == "out: written"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"config.yaml", WEIGHTS, "processor.yaml", "tokenizer.model", "tokenizer.yaml", "README.md"}
    weights = tiny_run / "checkpoints" / "step-100" / "weights"
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (weights / WEIGHTS).read_bytes()
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "weights of step-100" in card
    assert "| pairs " in card
    assert str(tiny_run.parent) not in card
    (tmp_path / "red.png").write_bytes(png((200, 30, 30)))
    for folder in (tiny_run, Path("out")):
        answer = kosmos_here("generate", folder, "-i", "red.png", "a", "--max-new-tokens", 4, cwd=tmp_path)
        assert answer.returncode == 0, answer.stderr
    # Nothing names a folder of the machine it was trained on.
    config = load_config(tmp_path / "out" / "config.yaml", ModelConfig)
    assert config.resampler.pretrained is None
    assert config.vision is None or config.vision.pretrained is None


def test_an_xpos_run_is_refused_as_kosmos2(tiny_run: Path, kosmos_here: Command, tmp_path: Path) -> None:
    done = kosmos_here("export", tiny_run, "out", "--format", "kosmos2", cwd=tmp_path)
    assert done.returncode == 2
    message = one_line(done)
    assert message.startswith("cannot be expressed as Kosmos-2: decoder.position is xpos")
    assert not list(tmp_path.iterdir())


def test_kosmos2_goes_out_and_comes_back_to_the_bit(
    sinusoidal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, back = tmp_path / "out", tmp_path / "back"
    assert main(["export", str(sinusoidal), str(out), "--format", "kosmos2", "--licence", "mit"]) == 0
    said = capsys.readouterr().out
    assert "note: a picture takes 4 slots here: call the processor with num_image_tokens=4" in said
    assert "check: logits of both sides differ by at most " in said
    assert (out / "README.md").read_text(encoding="utf-8").startswith("---\nlicense: mit\n")
    assert main(["import", str(out), str(back)]) == 0
    ours, again = snapshot(sinusoidal), snapshot(back)
    assert {name for name in ours if ours[name] != again[name]} == {"README.md"}


def test_transformers_goes_out_and_comes_back_to_the_bit(
    sinusoidal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, back = tmp_path / "out", tmp_path / "back"
    assert main(["export", str(sinusoidal), str(out), "--format", "transformers"]) == 0
    assert "check: logits of both sides differ by at most " in capsys.readouterr().out
    assert "trust_remote_code" in (out / "README.md").read_text(encoding="utf-8")
    assert main(["import", str(out), str(back)]) == 0
    said = capsys.readouterr().out
    assert "check: logits of both sides differ by at most " in said
    first, last = load_file(sinusoidal / WEIGHTS), load_file(back / WEIGHTS)
    assert first.keys() == last.keys()
    assert all(torch.equal(first[name], last[name]) for name in first)
    assert "Unknown: what came after the export" in (back / "README.md").read_text(encoding="utf-8")


def test_weights_that_read_back_otherwise_are_not_kept(
    sinusoidal: Path, tmp_path: Path, kosmos_here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = weights.read_tensors

    def damaged(folder: Path) -> dict[str, torch.Tensor]:
        tensors = read(folder)
        return tensors if folder == sinusoidal else {name: tensor + 1 for name, tensor in tensors.items()}

    monkeypatch.setattr(weights, "read_tensors", damaged)
    done = kosmos_here("export", sinusoidal, "out", cwd=tmp_path)
    assert done.returncode == 3
    assert "the weights read back are not those written; nothing was kept" in one_line(done)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere", "out"], 2, "nowhere: no such run, step or model folder"),
        (["RUN", "taken"], 2, "taken: exists already; choose another folder or remove it"),
        (["RUN", "out", "--format", "kosmos-2"], 2, "invalid choice: 'kosmos-2' (choose from kosmos, transformers"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], code: int, message: str, sinusoidal: Path, kosmos_here: Command, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").write_text("mine", encoding="utf-8")
    given = [str(sinusoidal) if word == "RUN" else word for word in arguments]
    done = kosmos_here("export", *given, cwd=tmp_path)
    assert done.returncode == code
    assert message.replace("'", "") in one_line(done).replace("'", "")
    assert {path.name for path in tmp_path.iterdir()} == {"taken"}


def test_the_check_is_left_out_only_aloud(sinusoidal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for format in ("kosmos", "kosmos2", "transformers"):
        assert main(["export", str(sinusoidal), str(tmp_path / format), "--format", format, "--skip-check"]) == 0
        assert "warning: the check of both sides' logits was left out (--skip-check)" in capsys.readouterr().out
