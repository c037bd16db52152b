"""Scripts that train one model each, run by the interpreter of its environment."""
