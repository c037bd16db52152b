"""Command that erases users."""
