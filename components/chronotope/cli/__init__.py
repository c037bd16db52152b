"""The command line: one file a command, over the same flows that the UI starts."""
