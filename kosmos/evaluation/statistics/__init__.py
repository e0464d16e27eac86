"""Statistics of scores: confidence intervals, bootstrap, ties."""
