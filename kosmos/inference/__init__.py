"""Inference: one engine that owns every key-value cache, and the ways to read text out of it."""
