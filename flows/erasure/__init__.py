"""Flow that erases users."""
