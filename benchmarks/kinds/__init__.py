"""Benchmarks of kinds of evidence, a script each: `python -m benchmarks.kinds.NAME`."""
