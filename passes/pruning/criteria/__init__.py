"""Importance: what each unit of a group is worth, by a table of criteria."""
