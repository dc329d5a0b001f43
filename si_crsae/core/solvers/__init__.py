"""Sparse codes: one objective, several ways to its minimum."""
