"""Privacy at the boundary of the flows: keys, recorded settings, retention."""
