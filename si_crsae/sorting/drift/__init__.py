"""Drift: how far the tissue has moved, and templates that move with it."""
