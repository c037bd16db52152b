"""What a training says of its model's dependences, limits and data."""
