"""Edges: ways in and out."""
