"""What each part of the model is worth: the model again and again, one part off each time."""
