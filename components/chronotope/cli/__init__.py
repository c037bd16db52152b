"""Command line: one module per command; commands run the same flows as the Prefect UI.

The module of a command imports at its top only what is needed for its options and its output:
typer, rich, settings, errors. The packages that do the work (torch, MLflow, Prefect, pyarrow) are
imported in the function of the command, after its arguments are parsed, so that ``--help`` and
invalid arguments are answered at once. ``tests/cli/test_startup.py`` checks this.
"""
