"""What the readers of datasets share: rows whose keys are checked, and pictures read when needed."""
