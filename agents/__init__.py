"""Stages: what is decided."""
