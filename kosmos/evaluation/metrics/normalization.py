"""The normalisation applied to predictions and answers before they are compared."""

from __future__ import annotations


def normalize(text: str) -> str:
    """Strip, lower-case, and collapse every run of white space to one space. Nothing else is forgiven."""
    return " ".join(text.lower().split())
