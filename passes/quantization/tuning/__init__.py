"""Tuning the ranges of a quantized model by what they do to its outputs."""
