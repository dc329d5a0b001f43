"""Variational sparse coding: a posterior over codes."""
