"""Rules about nodes that only move values: Transposes, Reshapes, Slices, Concats."""
