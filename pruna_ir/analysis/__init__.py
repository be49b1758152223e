"""Analyses: facts about a Model that passes and reports ask for."""
