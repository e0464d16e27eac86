from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kosmos.api import generate, load
from kosmos.cli.main import main, verb_parser
from kosmos.cli.prompt_parts import keep_order
from kosmos.document import Document, Image
from kosmos.inference.engine import Engine
from tests.inference.tiny import save_tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model/, cat.png, dog.png and text.png (which is none)."""
    folder = tmp_path_factory.mktemp("generate")
    save_tiny(folder)
    for seed, name in enumerate(("cat", "dog")):
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "text.png").write_text("not a picture", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def engine(run: Path) -> Engine:
    return load(run / "model")


@pytest.fixture(autouse=True)
def inside(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["-i", "cat.png", "An image of"], [Path("cat.png"), "An image of"]),
        (
            ["one", "-i", "a.png", "two", "--image=b.png", "three"],
            ["one", Path("a.png"), "two", Path("b.png"), "three"],
        ),
        (["--seed", "3", "one", "--json", "two"], ["one", "two"]),
        (["-i", "a.png", "-i", "b.png"], [Path("a.png"), Path("b.png")]),
        (["-5 degrees is", "--text", "cold", "-"], ["-5 degrees is", "cold", "-"]),
        (["--", "-i", "--seed"], ["-i", "--seed"]),
        ([], None),
    ],
)
def test_parts_keep_their_order(words: list[str], parts: list[str | Path] | None) -> None:
    parser = verb_parser("generate")
    prepared = keep_order(parser, ["RUN", *words])
    assert parser.parse_args(prepared).parts == parts
    assert parser.parse_args(prepared).run == Path("RUN")


def test_options_may_come_before_the_run() -> None:
    parser = verb_parser("generate")
    parsed = parser.parse_args(keep_order(parser, ["-i", "cat.png", "--seed", "3", "RUN", "text"]))
    assert (parsed.run, parsed.parts, parsed.seed) == (Path("RUN"), [Path("cat.png"), "text"], 3)


def test_text_comes_out(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "model", "-i", "cat.png", "An image of", "--max-new-tokens", "9"]) == 0
    expected = generate(engine, [Path("cat.png"), "An image of"], max_new_tokens=9)
    assert capsys.readouterr().out == f"{expected.text}\n"


def test_words_and_pictures_interleave(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["This", "is", "-i", "cat.png", "and this", "-i", "dog.png", "--max-new-tokens", "4", "--json"]
    assert main(["generate", "model", *words]) == 0
    document = Document("This is", Image(Path("cat.png")), "and this", Image(Path("dog.png")))
    expected = generate(engine, document, max_new_tokens=4)
    made = json.loads(capsys.readouterr().out)
    assert made == {
        "text": expected.text,
        "token_ids": list(expected.token_ids),
        "log_probs": list(expected.log_probs),
        "finish_reason": expected.finish_reason,
    }


def test_streamed_text_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "model", "an image", "--temperature", "1.5", "--seed", "8", "--min-new-tokens", "8"]
    assert main(words) == 0
    whole = capsys.readouterr().out
    assert main([*words, "--stream"]) == 0
    assert capsys.readouterr().out == whole
    assert len(whole) > 8


def test_the_best_beams(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "model", "an image", "--num-beams", "4", "--num-results", "2", "--max-new-tokens", "6"]
    words += ["--length-penalty", "0.5", "--early-stopping", "never"]
    expected = generate(
        engine, "an image", max_new_tokens=6, num_beams=4, num_results=2, length_penalty=0.5, early_stopping="never"
    )
    assert main(words) == 0
    assert capsys.readouterr().out == f"{expected.text}\n{expected.others[0].text}\n"
    assert main([*words, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["token_ids"] == list(expected.token_ids)
    assert made["score"] == pytest.approx(expected.score)
    assert [other["token_ids"] for other in made["others"]] == [list(expected.others[0].token_ids)]


def test_several_draws(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "model", "an image", "--temperature", "2", "--num-results", "3", "--max-new-tokens", "6"]
    assert main(words) == 0
    expected = generate(engine, "an image", max_new_tokens=6, temperature=2.0, num_results=3)
    assert capsys.readouterr().out.split("\n")[:-1] == [one.text for one in expected.all]
    assert len({one.token_ids for one in expected.all}) == 3


def test_one_of_the_names(engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["red cat", "two dogs", "green house", "red house"]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    words = ["generate", "model", "-i", "cat.png", "The", "--names", str(tmp_path / "names.txt")]
    assert main([*words, "--num-beams", "4", "--num-results", "4", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    scores = engine.score([Document(Image(Path("cat.png")), "The")], [f" {name}" for name in names], include_end=True)
    means = {name: score.mean for name, score in zip(names, scores[0])}
    ranked = [made, *made["others"]]
    assert [one["text"] for one in ranked] == sorted(names, key=lambda name: -means[name])
    assert [one["score"] for one in ranked] == pytest.approx(sorted(means.values(), reverse=True), abs=1e-4)
    assert main(words) == 0  # two beams
    expected = generate(engine, [Path("cat.png"), "The"], names=[f" {name}" for name in names], num_beams=2)
    assert capsys.readouterr().out == f"{expected.text}\n"
    assert main([*words, "--num-results", "4"]) == 0  # as many beams as results
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(names)


def test_many_prompts_from_a_file(engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        {"prompt": ["An image", {"image": "cat.png"}], "id": "a"},
        {"prompt": "two dogs", "max_new_tokens": 2},
    ]
    Path("prompts.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    out = tmp_path / "new" / "answers.jsonl"
    words = ["generate", "model", "--jsonl", "prompts.jsonl", "--max-new-tokens", "5"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert main([*words, "--out", str(out), "--batch-size", "1"]) == 0
    made = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [answer["id"] for answer in made] == ["a", 2]
    assert made[0]["token_ids"] == list(generate(engine, ["An image", Path("cat.png")], max_new_tokens=5).token_ids)
    assert made[1]["token_ids"] == list(generate(engine, "two dogs", max_new_tokens=2).token_ids)
    assert [json.loads(line)["token_ids"] for line in printed.splitlines()] == [a["token_ids"] for a in made]
    before = out.read_bytes()
    assert main([*words, "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere", "an"], 2, "nowhere: no such run"),
        (["model", "-i", "nowhere.png", "an"], 3, "nowhere.png: cannot read the picture: No such file"),
        (["model", "-i", "text.png", "an"], 3, "text.png: not a PNG, JPEG, WEBP or GIF picture"),
        (["model", "-i"], 2, "expected one argument"),
        (["model"], 2, "there is no prompt: give a text, a picture (-i FILE) or many prompts (--jsonl FILE)"),
        (["model", "an", "--temprature", "1"], 2, "did you mean '--temperature'?"),
        (["model", "an", "--temperature", "-1"], 2, "temperature is -1.0"),
        (["model", "an", "--top-p", "0.5"], 2, "add --temperature"),
        (["model", "an", "--max-new-tokens", "0"], 2, "must be at least 1"),
        (["model", "an", "--min-new-tokens", "99"], 2, "between 0 and max_new_tokens"),
        (["model", "an", "--stream", "--json"], 2, "choose one of"),
        (["model", "an", "--out", "x"], 2, "--out is for --jsonl"),
        (["model", "an", "--jsonl", "x"], 2, "brings its own prompts"),
        (["model", "--jsonl", "nowhere.jsonl"], 3, "nowhere.jsonl: cannot read the prompts"),
        (["model", "an", "--resume"], 2, "--resume goes on with a file of answers"),
        (["model", "an", "--num-beams", "2", "--temperature", "1"], 2, "beams and drawing exclude each other"),
        (["model", "an", "--length-penalty", "2"], 2, "are about beams; add --num-beams"),
        (["model", "an", "--early-stopping", "true"], 2, "are about beams; add --num-beams"),
        (["model", "an", "--early-stopping", "maybe"], 2, "invalid choice: 'maybe'"),
        (["model", "an", "--num-results", "2"], 2, "raise num_beams, or draw with a temperature"),
        (["model", "an", "--num-beams", "2", "--stream"], 2, "--stream shows one text as it comes"),
        (["model", "an", "--names", "nowhere.txt"], 3, "nowhere.txt: cannot read the names"),
        (["model", "an", "--names", "x", "--temperature", "1"], 2, "--names is a search"),
        (["model", "an", "--device", "tpu9"], 2, "device tpu9: unknown"),
        (["model", "of " * 200], 2, "tokens long"),
        ([], 2, "RUN"),
    ],
)
def test_bad_input_is_one_line(words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", *words]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("kosmos: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
