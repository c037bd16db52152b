"""Commands that generate logs: of a simulated city, and like a log of the lake."""
