"""The built-in metrics of `kosmos.evaluation.samples`, registered by importing this module."""

from __future__ import annotations
