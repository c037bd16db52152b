"""What of a network carries over to another log: the split of its state, and files of that part."""
