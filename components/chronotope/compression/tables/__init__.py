"""Tables of a graph in fewer bits: quantised, packed, or as product codes."""
