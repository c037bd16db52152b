"""Write measured rows between the markers of a page.

    python -m benchmarks.peers.page peers.json docs/peers.md

A block ``<!-- rows: DATASET PROTOCOL -->`` … ``<!-- end -->`` is filled with the rows of
that dataset and protocol, best NDCG@10 first.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.rows import Row, read_rows

HEADERS: Final = {
    "NDCG@10 [95 %]": "ndcg_10",
    "Acc@1": "acc_1",
    "Acc@10": "acc_10",
    "MRR": "mrr",
    "returns @10": "return_acc_10",
    "discoveries @10": "discovery_acc_10",
    "train s": "train_s",
    "epoch s": "seconds_epoch",
    "score s": "score_s",
    "MB": "peak_mb",
    "stopped by": "stopped_by",
}
DIGITS: Final = {"train_s": 0, "seconds_epoch": 2, "score_s": 2, "peak_mb": 0}
BLOCK: Final = re.compile(r"(<!-- rows: (\w+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill the page named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.page", description=__doc__)
    parser.add_argument("json", type=Path, help="rows written by python -m benchmarks.peers")
    parser.add_argument("page", type=Path, help="Markdown page with markers")
    chosen = parser.parse_args(arguments)
    rows = read_rows(chosen.json)
    page = filled(chosen.page.read_text(encoding="utf-8"), rows)
    chosen.page.write_text(page, encoding="utf-8")


def filled(page: str, rows: Sequence[Row]) -> str:
    """The page with updated rows; blocks without measured rows stay."""

    def renew(found: re.Match[str]) -> str:
        about = (found[2], found[3])
        chosen = [row for row in rows if (row["dataset"], row["protocol"]) == about]
        return f"{found[1]}{markdown(chosen)}{found[4]}" if chosen else found[0]

    return BLOCK.sub(renew, page)


def markdown(rows: Sequence[Row]) -> str:
    """A table, best NDCG@10 first."""
    best_first = sorted(rows, key=lambda row: -row["ndcg_10"])
    lines = [f"| model | {' | '.join(HEADERS)} |", "|---" * (len(HEADERS) + 1) + "|"]
    for row in best_first:
        cells = [_cell(row, key) for key in HEADERS.values()]
        lines.append(f"| `{row['model']}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(row: Row, key: str) -> str:
    value = row.get(key)
    if value == "budget":
        return f"budget, {row['budget_s']:.0f} s"
    if not isinstance(value, float):
        return str(value or "")
    if key == "ndcg_10":
        return f"{value:.4f} [{row['ndcg_10_low']:.3f}, {row['ndcg_10_high']:.3f}]"
    return f"{value:,.{DIGITS.get(key, 3)}f}"


if __name__ == "__main__":
    main()
