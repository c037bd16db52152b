"""Ranking a catalogue of a million items: size, recall, and time an answer."""
