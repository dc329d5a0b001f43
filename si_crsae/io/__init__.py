"""Recordings from files of any kind, and exchange of recordings and sortings with neo."""
