"""Which test runs the commands and programs of which document."""

from __future__ import annotations

_README = "tests/cli/test_documents.py"
_TUTORIALS = "tests/documents/test_tutorials.py"

RUN_BY: dict[str, tuple[str, ...]] = {
    "README.md": (f"{_README}::test_the_readme", "tests/documents/test_parsing.py::test_every_make_target_is_there"),
    "CONTRIBUTING.md": ("tests/documents/test_parsing.py::test_every_make_target_is_there",),
    "docs/index.md": ("tests/documents/test_parsing.py::test_every_make_target_is_there",),
    "docs/training.md": (f"{_README}::test_the_steps_of_training",),
    "docs/data.md": (f"{_README}::test_the_data",),
    "docs/inference.md": (f"{_README}::test_the_inference",),
    "docs/evaluation.md": ("tests/cli/test_evaluation_document.py::test_the_commands",),
    "docs/modalities.md": ("tests/test_third_modality.py::test_the_commands_of_the_document",),
    "docs/web.md": (f"{_TUTORIALS}::test_web_pages",),
    "docs/tutorials/own_pictures.md": (f"{_TUTORIALS}::test_own_pictures",),
    "docs/tutorials/web_corpus.md": (f"{_TUTORIALS}::test_web_corpus",),
    "docs/tutorials/many_gpus.md": (f"{_TUTORIALS}::test_many_gpus",),
    "docs/tutorials/table1.md": (f"{_TUTORIALS}::test_table1",),
    "docs/tutorials/serve.md": (f"{_TUTORIALS}::test_serving",),
    "docs/weights.md": ("tests/documents/test_weights.py::test_the_commands",),
    "docs/transformers.md": ("tests/interop/test_transformers_document.py::test_the_document",),
    "docs/serving.md": ("tests/serving/test_serving_document.py::test_the_commands",),
    "docs/scale.md": (f"{_README}::test_the_scale",),
}
