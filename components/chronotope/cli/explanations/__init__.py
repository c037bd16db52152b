"""Command that explains a recommendation."""
