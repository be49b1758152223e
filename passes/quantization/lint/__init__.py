"""The linter for Q/DQ graphs: what it sees, its rules, and the proof on the real runtime."""
