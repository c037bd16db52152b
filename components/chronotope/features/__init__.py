"""From the lake's events to the numeric log and to point-in-time statistics."""
