"""Rules that write an operator out in simpler ones, for runtimes that lack it."""
