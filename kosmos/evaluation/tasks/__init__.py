"""The datasets of Table 1, one module each, and what they share: prompts, splits, questions."""
