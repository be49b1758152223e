"""Passes that make a graph smaller and keep its numbers."""
