"""Passes that merge neighbouring nodes into one, and the rules that they share a driver with."""
