"""Tests, mirroring the paths they test."""
