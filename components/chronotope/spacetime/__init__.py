"""Great-circle distances, H3 cells and local time."""
