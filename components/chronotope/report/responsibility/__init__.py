"""Data card, and drawings of what predictions depend on."""
