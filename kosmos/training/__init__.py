"""Training: the step, the loop around it, optimizer, checkpoints and metrics."""
