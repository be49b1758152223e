"""The Core ML back end."""
