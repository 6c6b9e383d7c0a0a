"""Benchmarks: they print what they measured, and are not timed tests."""
