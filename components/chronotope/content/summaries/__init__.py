"""Summaries of long texts: sentences of the text itself, or those of an endpoint, checked."""
