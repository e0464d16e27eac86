"""The built-in metrics of `kosmos.evaluation.samples`, registered by importing this module."""

from __future__ import annotations

from kosmos.evaluation.metrics.bleu import BLEU
from kosmos.evaluation.metrics.cider import CIDER
from kosmos.evaluation.metrics.rouge_l import ROUGE_L
from kosmos.evaluation.samples import register_set_metric

for _metric in (CIDER, *BLEU, ROUGE_L):
    register_set_metric(_metric)
