"""From a source to the lake: normalise, filter noise, merge, quarantine."""
