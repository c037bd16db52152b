"""Whether data, predictions and their outcome are still what they were."""
