"""Training of text classifiers: a Transformer beside TF-IDF terms, exported without torch."""
