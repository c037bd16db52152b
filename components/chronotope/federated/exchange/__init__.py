"""Orders and answers as files, for a transport of its own environment such as Flower."""
