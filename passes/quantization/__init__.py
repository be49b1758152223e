"""Passes that move a model to low-precision numbers."""
