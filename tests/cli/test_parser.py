"""Numbers and options as people write them."""

from __future__ import annotations

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kosmos.cli.overrides import read_overrides
from kosmos.cli.parser import Parser, positive, whole_number
from kosmos.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"), [("500", 500), ("2_000", 2000), ("32K", 32_000), ("1.5M", 1_500_000), ("2b", 2_000_000_000)]
)
def test_whole_number(text: str, value: int) -> None:
    assert whole_number(text) == value


@pytest.mark.parametrize("text", ["", "K", "1.5", "1.2345K", "ten", "1e3K-"])
def test_not_a_whole_number(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        whole_number(text)


@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_plain_integers_stay(value: int) -> None:
    assert whole_number(str(value)) == value


def test_positive_refuses_zero() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="at least 1"):
        positive("0")


def test_no_abbreviated_options() -> None:
    parser = Parser(prog="kosmos x")
    parser.add_argument("--fresh", action="store_true")
    with pytest.raises(UsageError, match=r"--fre \(did you mean '--fresh'\?\); see `kosmos x --help`"):
        parser.parse_args(["--fre"])


@pytest.mark.parametrize(
    ("arguments", "pairs"),
    [
        (["--optimizer.lr", "1e-4"], ["optimizer.lr=1e-4"]),
        (["--optimizer.lr=1e-4", "--steps", "2K"], ["optimizer.lr=1e-4", "steps=2000"]),
        (["--model.decoder.no-sub-ln"], ["model.decoder.sub_ln=false"]),
        (["--random-vision"], ["random_vision=true"]),
        (["--model.vision.channels", "[16, 32]"], ["model.vision.channels=[16, 32]"]),
        (["--seed", "-1"], ["seed=-1"]),
        (["--data.sources.text.corpora.0.path", "a=b"], ["data.sources.text.corpora.0.path=a=b"]),
    ],
)
def test_overrides(arguments: list[str], pairs: list[str]) -> None:
    assert read_overrides(arguments) == pairs


def test_a_loose_word_is_refused() -> None:
    with pytest.raises(UsageError, match="unexpected argument: lr"):
        read_overrides(["lr", "1"])
