"""Write measured rows between the markers of a page.

    python -m benchmarks.ablation.page ablation.json docs/ablation.md

A block ``<!-- rows: time hidden, epochs 3, every 3, seed 0 -->`` … ``<!-- end -->`` is
filled with the rows of those settings.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.ablation.__main__ import METRICS, cell, kept
from benchmarks.ablation.parts import PARTS
from benchmarks.rows import Row

BLOCK: Final = re.compile(
    r"(<!-- rows: time (\w+), epochs (\d+), every (\d+), seed (\d+) -->\n).*?(<!-- end -->)",
    re.DOTALL,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill the page named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation.page", description=__doc__)
    parser.add_argument("json", type=Path, help="rows written by python -m benchmarks.ablation")
    parser.add_argument("page", type=Path, help="Markdown page with markers")
    chosen = parser.parse_args(arguments)
    page = filled(chosen.page.read_text(encoding="utf-8"), kept(chosen.json))
    chosen.page.write_text(page, encoding="utf-8")


def filled(page: str, rows: Sequence[Row]) -> str:
    """The page with updated rows; blocks without measured rows stay."""

    def renew(found: re.Match[str]) -> str:
        epochs, every, seed = (int(found[n]) for n in (3, 4, 5))
        about = {"time": found[2], "epochs": epochs, "every": every, "seed": seed}
        chosen = [row for row in rows if about.items() <= row.items()]
        return f"{found[1]}{markdown(chosen)}{found[6]}" if chosen else found[0]

    return BLOCK.sub(renew, page)


def markdown(rows: Sequence[Row]) -> str:
    """A table in the order of the parts."""
    lines = [
        f"| part | without | {' | '.join(METRICS.values())} |",
        "|---" * (len(METRICS) + 2) + "|",
    ]
    for row in rows:
        cells = [cell(row, name).replace(" ", "<br>", 1) for name in METRICS]
        lines.append(f"| `{row['part']}` | {PARTS[row['part']].about} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
