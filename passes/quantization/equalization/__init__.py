"""Passes that move scales of channels from one constant to another, so that integers hold both better."""
