"""lm-eval finds our model by the entry point of our package, where it looks for entry points."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

GROUP = "lm_eval.models"
TARGET = "kosmos.interop.lm_eval:KosmosLM"


def test_the_package_declares_its_model_to_lm_eval() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][GROUP] == {"kosmos": TARGET}


def test_the_entry_point_is_a_model_of_lm_evals_registry() -> None:
    """As lm-eval's discovery does it: the entry point is a placeholder until somebody asks for the model."""
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    registry: Any = pytest.importorskip("lm_eval.api.registry")
    models = registry.Registry("model", base_cls=registry.model_registry._base_cls)
    models.register("kosmos", target=EntryPoint(name="kosmos", value=TARGET, group=GROUP))
    model = models.get("kosmos")
    assert (model.__module__, model.__name__) == ("kosmos.interop.lm_eval", "KosmosLM")
    assert issubclass(model, importable("lm_eval.api.model").LM)


def test_lm_eval_looks_for_entry_points_or_says_nothing_of_them() -> None:
    """0.4.13, the last release, does not; what came after it reads the group `lm_eval.models`."""
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    registry: Any = pytest.importorskip("lm_eval.api.registry")
    source = Path(registry.__file__).parent.parent
    looks = any("entry_points(" in path.read_text(encoding="utf-8") for path in source.glob("*/*.py"))
    assert looks == hasattr(registry, "import_plugins")
    if looks:
        assert registry.get_model("kosmos").__name__ == "KosmosLM"


def importable(name: str) -> Any:
    return pytest.importorskip(name)
