"""Running benchmarks: cells, their plan, ranks that ask the Engine, responses on disk, samples and their measures."""
