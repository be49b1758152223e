"""Rounding the weights of a layer to integers so that its outputs change least: numeric solvers on matrices."""
