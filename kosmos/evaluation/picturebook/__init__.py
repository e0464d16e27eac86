"""The picture book: the demo's abilities through the Engine, beside chance, blank pictures and baselines."""
