"""Instruments: what watches a pipeline run."""
