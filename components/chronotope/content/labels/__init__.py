"""Missing labels of items, such as categories: classifier, confidence and the lake's table."""
