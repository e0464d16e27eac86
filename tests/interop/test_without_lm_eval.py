from __future__ import annotations

import importlib
import sys

import pytest

from kosmos.errors import ConfigError


def test_a_missing_lm_eval_is_one_line_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "kosmos.interop.lm_eval", raising=False)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(ConfigError, match=r"lm-eval is not installed .*; pip install 'kosmos\[lm-eval\]'"):
        importlib.import_module("kosmos.interop.lm_eval")
