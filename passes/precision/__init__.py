"""Precision as a choice: halves, weights in few bits, dynamic integers, and a mix of them under a budget."""
