"""Abstract interpretation of shape arithmetic: what `fold-shapes` knows about dimensions and small integer tensors."""
