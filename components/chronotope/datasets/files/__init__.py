"""Streaming of source files: location, download, decompression and formats."""
