"""Commands of privacy: keys of pseudonyms, retention."""
