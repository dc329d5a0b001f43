"""Jupyter widgets and their plain-data view models."""
