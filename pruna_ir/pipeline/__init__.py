"""Pipelines: their text, their passes, the rules that passes are made of, and the manager that runs them."""
