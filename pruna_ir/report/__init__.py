"""What a run ends with: the table, the JSON summary and its schema."""
