"""Speed and memory of mjbulk beside its peers and floors, as ratios of one run: ``python -m benchmarks``."""
