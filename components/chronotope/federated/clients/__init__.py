"""What runs at a client: reading of its lake, counts, training, masks."""
