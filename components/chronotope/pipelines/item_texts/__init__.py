"""Steps on the texts of the items: training of the classifiers of missing labels."""
