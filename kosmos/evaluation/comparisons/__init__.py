"""Comparisons of two evaluations, paired item by item, and the paper's tables of them."""
