"""Passes that remove channels: which, how many, the cut itself, and what makes up for it."""
