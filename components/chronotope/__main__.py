"""``python -m chronotope``: the command line, where no script is installed."""

from chronotope.cli.main import run

run()
