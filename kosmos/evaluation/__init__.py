"""Evaluation: tasks run through the Engine, metrics, baselines, statistics, and the report."""
