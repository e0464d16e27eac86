"""The built-in metrics of `kosmos.evaluation.metrics.answered`, registered by importing this module."""

from __future__ import annotations

from kosmos.evaluation.metrics.accuracy import ACCURACY, F1_MACRO
from kosmos.evaluation.metrics.answered import register_set_metric
from kosmos.evaluation.metrics.bleu import BLEU
from kosmos.evaluation.metrics.category_name import CATEGORY_NAME
from kosmos.evaluation.metrics.cider import CIDER
from kosmos.evaluation.metrics.exact_name import EXACT_NAME
from kosmos.evaluation.metrics.java_reference import METEOR, SPICE
from kosmos.evaluation.metrics.roc_auc import ROC_AUC
from kosmos.evaluation.metrics.rouge_l import ROUGE_L
from kosmos.evaluation.metrics.vqa_accuracy import VQA_ACCURACY
from kosmos.evaluation.metrics.web_answer import WEB_EM, WEB_F1

_BUILT_IN = (
    ACCURACY,
    F1_MACRO,
    CIDER,
    *BLEU,
    ROUGE_L,
    METEOR,
    SPICE,
    VQA_ACCURACY,
    WEB_EM,
    WEB_F1,
    ROC_AUC,
    EXACT_NAME,
    CATEGORY_NAME,
)
for _metric in _BUILT_IN:
    register_set_metric(_metric)
