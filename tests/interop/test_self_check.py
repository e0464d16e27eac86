"""The measure of every check of a conversion: one for logits and features, relative, with room for rounding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from kosmos.errors import DataError
from kosmos.interop.self_check import TOLERANCE, Probe, compare_logits, make_probes, native_logits, relative_difference
from kosmos.interop.transformers.importing import logits_in_transformers
from kosmos.model.weights import read_tensors, save_tensors
from kosmos.tokenizer import Tokenizer
from tests.interop.twins import VARIANTS, Twins, make_twins, transformers_twin


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        ([0.5, -0.25], [0.5, 0.0], 0.25),  # below 1: the difference itself
        ([40.0, -80.0], [42.0, -80.0], 2 / 80),  # of the largest, whatever its sign
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.0], [1.0, float("nan")], float("inf")),
        ([float("nan"), 2.0], [1.0, 2.0], float("inf")),
    ],
)
def test_the_measure(wanted: list[float], found: list[float], expected: float) -> None:
    assert relative_difference(torch.tensor(wanted), torch.tensor(found)) == pytest.approx(expected)


def probe_of_text(twins: Twins) -> Probe:
    return make_probes(twins.processor)[0]


@pytest.mark.parametrize("size", [1.0, 1000.0])
def test_what_is_refused_and_what_is_printed_is_the_same_figure(tokenizer: Tokenizer, size: float) -> None:
    probe = probe_of_text(make_twins(tokenizer, "text-only"))
    wanted = torch.tensor([[size, 0.0]])

    def compare(difference: float) -> str:
        said: list[str] = []
        other = wanted + torch.tensor([[0.0, difference * size]])
        assert compare_logits([probe], lambda: [wanted], lambda: [other], said.append) == pytest.approx(difference)
        return said[0]

    assert compare(9e-6) == (
        "check: logits of both sides differ by at most 9.0e-06 (text 9.0e-06), relative to the largest logit, or to 1; "
        "the limit is 1e-05"
    )
    with pytest.raises(DataError, match=r"differ by 1\.1e-05 from .* \(text 1\.1e-05\), relative .* is 1e-05; nothing"):
        compare(1.1e-5)


def logits_of_both(twins: Twins, folder: Path, times: float) -> tuple[list[Probe], list[Tensor], list[Tensor]]:
    """Of the same weights, the embedding (and so the tied head) multiplied."""
    with torch.no_grad():
        twins.ours.get_parameter("decoder.embedding.weight").mul_(times)
        twins.ours.save_pretrained(folder, twins.processor)
        probes = make_probes(twins.processor)
        theirs = logits_in_transformers(transformers_twin(twins.ours, twins.processor.tokenizer), probes)
    return probes, native_logits(folder, probes), theirs


@pytest.mark.parametrize("times", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("name", list(VARIANTS))
def test_rounding_is_far_below_the_limit_whatever_the_size_of_the_logits(
    tokenizer: Tokenizer, tmp_path: Path, name: str, times: float
) -> None:
    probes, ours, theirs = logits_of_both(make_twins(tokenizer, name), tmp_path / "native", times)
    largest = max(float(logits.abs().max()) for logits in ours)
    assert largest > 0.5 * times
    assert compare_logits(probes, lambda: ours, lambda: theirs, lambda line: None) < TOLERANCE / 5


def test_one_wrong_tensor_is_seen_among_large_logits(tokenizer: Tokenizer, tmp_path: Path) -> None:
    probes, ours, _ = logits_of_both(make_twins(tokenizer, "xpos-clip"), tmp_path / "native", 30.0)
    tensors = read_tensors(tmp_path / "native")
    tensors["decoder.layers.1.ffn.fc2.bias"] = tensors["decoder.layers.1.ffn.fc2.bias"] * 1.01
    save_tensors(tensors, tmp_path / "native" / "model.safetensors")
    wrong = native_logits(tmp_path / "native", probes)
    with pytest.raises(DataError, match="the converted model's logits differ by"):
        compare_logits(probes, lambda: ours, lambda: wrong, lambda line: None)
