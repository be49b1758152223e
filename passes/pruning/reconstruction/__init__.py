"""Recovering what pruning loses, without labels or gradients: least squares on the layers that read what is cut."""
