"""The files that the documents show are read by what they are written for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kosmos.config import CorpusConfig, SourceConfig, TrainConfig, VisionPretrainingConfig
from kosmos.config_files import config_from_mapping, parse_yaml
from kosmos.data.readers import BadRecord, open_reader
from kosmos.document import Document
from kosmos.evaluation.picturebook.tasks import picturebook_tasks
from kosmos.evaluation.tasks.iq50 import read as read_iq
from tests.cli.tiny_run import png
from tests.documents.reading import REPOSITORY, Block, all_blocks, blocks


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=lambda block: block.where)
def test_a_yaml_block_is_a_configuration(block: Block) -> None:
    data = parse_yaml(block.text)
    if set(data) == {"corpora"}:
        rows = {"rows_per_step": 1, "micro_batch_rows": 1, "row_length": 8}
        source = config_from_mapping({**rows, **data}, SourceConfig, block.where)
        assert len(source.corpora) == len(data["corpora"]) > 0
    elif "task" in data:  # lm-eval's; tests/interop/test_transformers_document.py runs it
        assert {"output_type", "doc_to_text", "metric_list"} <= set(data)
    elif "vision" in data and "data" not in data:
        assert config_from_mapping(data, VisionPretrainingConfig, block.where).steps == data["steps"]
    else:
        assert config_from_mapping(data, TrainConfig, block.where).steps == data["steps"]


@pytest.mark.parametrize("name", ["docs/data.md", "docs/training.md"])
def test_an_interleaved_record_is_read(name: str, tmp_path: Path) -> None:
    from kosmos.cli.main import main

    (block,) = (block for block in blocks(REPOSITORY / name) if block.language == "json")
    record = json.loads(block.text)
    pictures = [picture for picture in record["images"] if picture]
    (tmp_path / "pages").mkdir()
    for picture in pictures:
        (tmp_path / "pages" / picture).write_bytes(png((200, 30, 30)))
    (tmp_path / "pages" / "story.json").write_text(block.text)
    assert main(["data", "pack", str(tmp_path / "pages"), str(tmp_path / "tars"), "--interleaved"]) == 0
    reader = open_reader(CorpusConfig("interleaved_tar", str(tmp_path / "tars")), seed=1)
    (shard,) = reader.shards()
    read = reader.read(shard, 0, 0)
    assert isinstance(read, Document) and not isinstance(read, BadRecord)
    assert len(read.images) == len(pictures) and read.text == "".join(text for text in record["texts"] if text)


def test_the_iq_test_is_read(tmp_path: Path) -> None:
    (block,) = (block for block in blocks(REPOSITORY / "docs" / "evaluation.md") if block.language == "json")
    (item,) = json.loads(block.text)["items"]
    for picture in (*item["given"], *item["candidates"]):
        (tmp_path / picture).parent.mkdir(exist_ok=True)
        (tmp_path / picture).write_bytes(png((200, 30, 30)))
    (tmp_path / "iq.json").write_text(block.text)
    (example,) = read_iq(tmp_path, "test")
    assert example.fields == {"given": 3, "label": item["answer"] - 1} and len(example.images) == 9


def test_the_gallery_has_every_ability_of_the_report() -> None:
    """Abilities whose prompts differ in nothing but the set they are drawn from stand once."""
    code = "".join(file.read_text() for file in sorted((REPOSITORY / "examples" / "gallery").glob("[0-9]*.py")))
    alike = {"vqa_color", "counting", "ocr_unseen", "raven_4", "raven_8"}
    alike |= {"in_context_0", "in_context_2", "in_context_8", "in_context_shuffled"}
    assert {task.name for task in picturebook_tasks() if f'"{task.name}"' not in code} == alike
