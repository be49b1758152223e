"""Rules that find an operator in the simpler ones that exporters wrote it as."""
