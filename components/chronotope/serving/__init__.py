"""Answers over HTTP, in real time, and remembers what it is told."""
