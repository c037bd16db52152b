"""Command ``chronotope demo``: train on one year of real purchases."""

from pathlib import Path
from typing import Annotated

import typer

from chronotope.cli.train import train

DATASET = "complete_journey"
CONFIG = Path("conf/training/demo.yaml")


def demo(
    root: Annotated[
        Path, typer.Option(help="Project root; all files are written below it")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Check and show the settings only")] = False,
) -> None:
    """Train, compress, evaluate and promote on 1,469,307 purchases (Complete Journey, CC0)."""
    train(DATASET, None, CONFIG, root, as_json, dry_run)
