"""How good a prediction was: ranks, slices, intervals; what, when and where."""
