"""Linked dictionaries: several views of one sparse code."""
