"""What users did since: read once, guarded, and judged whether it is worth learning from."""
