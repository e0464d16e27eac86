"""Data: readers, packing, mixtures, and the picture book."""
