"""The command line: one file a command, over the same flows that the UI starts.

A command's module imports at its top only what declares its options and prints its result:
typer, rich, settings, errors. The packages that do the work (torch, MLflow, Prefect, pyarrow)
are imported in the command's function, after its arguments were parsed, so that ``--help`` and a
wrong argument answer at once. ``tests/cli/test_startup.py`` holds this.
"""
