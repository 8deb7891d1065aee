"""Benchmarks of speed and memory: mjbulk against its peers and against bare loops, as ratios within one run.

``python -m benchmarks`` runs them.
"""
