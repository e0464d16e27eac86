"""ImageNet's top-1 by name: right when the generated text is exactly the category's name.

"Exactly the same" (paper, section 4.6) is read as: white space around it does not count, the case of letters does. The
value without regard to case stands beside it. Two names belong to two classes each ("missile", "sunglasses"): as the
answer is a name, either class's picture is right with it. No text can tell these twins apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from kosmos.errors import DataError, UsageError
from kosmos.evaluation.metrics.answered import Answered, Measured, SetMetric

# Of the 1,000 names in common use, those that two classes share.
TWIN_NAMES = ("missile", "sunglasses")


def exact_name(prediction: str, names: Sequence[str]) -> bool:
    """True when the prediction is one of `names`, white space around both aside."""
    return prediction.strip() in {name.strip() for name in names}


def _measure(answered: Sequence[Answered]) -> Measured:
    if not answered:
        raise UsageError("exact_name needs at least one example")
    for item in answered:
        if not item.answers:
            raise DataError(f"example {item.id}: exact_name needs the name of the category")
    values = tuple(float(exact_name(item.prediction, item.answers)) for item in answered)
    folded = [exact_name(item.prediction.lower(), [name.lower() for name in item.answers]) for item in answered]
    twins = sum(any(name.strip() in TWIN_NAMES for name in item.answers) for item in answered)
    details = {"any_case": sum(folded) / len(folded), "twins": float(twins)}
    return Measured(math.fsum(values) / len(values), values, details)


EXACT_NAME = SetMetric("exact_name", _measure)
