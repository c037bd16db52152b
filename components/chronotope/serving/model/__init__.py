"""The loaded champion: inference, selection of items, experiment arms and shadows."""
