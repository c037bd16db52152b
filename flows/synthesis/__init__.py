"""Flow that writes a synthetic log."""
