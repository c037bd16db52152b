"""Drift of a dataset's log at the end of each window, from the windows before it alone.

``python -m benchmarks.drift --dataset foursquare_nyc --days 28 --reference 1 --json FILE``
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.data_sets import EXTERNAL, data_set_dir
from chronotope.datasets.loading import CONF_DIR, load_spec
from chronotope.lake import Lake
from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.data_drift import measure_data_drift
from chronotope.monitoring.encoded_events import EncodedColumn, EncodedEvents, read_encoded_events
from chronotope.monitoring.monitor import overall_status
from chronotope.monitoring.thresholds import check_statistics
from chronotope.monitoring.windows import Windows
from chronotope.runtime.workspace import Workspace
from flows.ingest_events import IngestSettings, write_events, write_tables


def verdicts(events: EncodedEvents, config: MonitorConfig) -> list[dict[str, Any]]:
    """Drift report of each window: its end, its events, the status, and the checks with drift.

    Args:
        events: The whole log.
        config: Windows and thresholds.
    """
    windows = Windows.over(events.occurred_s, config)
    found = []
    for window in range(windows.n):
        start = windows.start_s(window)
        known = until(events, start + windows.length_s)
        so_far = replace(windows, end_s=start + windows.length_s, n=window + 1)
        checks = check_statistics(measure_data_drift(known, so_far, config)[0], config)
        drifted = [
            {"what": c.name, "value": c.value, "usual": c.usual, "threshold": c.threshold}
            for c in checks
            if c.verdict == "drift"
        ]
        found.append(
            {
                "end": f"{windows.span(window)[1]:%Y-%m-%d}",
                "n_events": int((known.occurred_s >= start).sum()),
                "verdict": overall_status(checks),
                "drifted": drifted,
            }
        )
    return found


def until(events: EncodedEvents, end_s: int) -> EncodedEvents:
    """The events before an instant."""
    kept = events.occurred_s < end_s

    def cut(of: EncodedColumn) -> EncodedColumn:
        return replace(of, codes=of.codes[kept])

    return EncodedEvents(
        user=cut(events.user),
        item=cut(events.item),
        occurred_s=events.occurred_s[kept],
        texts={name: cut(of) for name, of in events.texts.items()},
        numbers={name: of[kept] for name, of in events.numbers.items()},
    )


def ingested(dataset: str, root: Path) -> EncodedEvents:
    """A dataset's events, ingested below a root without a server."""
    folder = data_set_dir(dataset) if dataset in EXTERNAL else None
    settings = IngestSettings(root=root, data_docs=False, data_dir=folder)
    write_tables.fn(dataset, settings)
    write_events.fn(dataset, settings)
    name = load_spec(dataset, conf_dir=CONF_DIR).name
    return read_encoded_events(Lake(Workspace(root).lake(name)), 0)


def main() -> None:
    """Measure drift at the end of each window, print the rows and store them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True, help="name of a dataset in conf/datasets")
    parser.add_argument("--days", type=int, default=MonitorConfig().window_days)
    parser.add_argument("--reference", type=int, default=MonitorConfig().reference_windows)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    told = parser.parse_args()
    config = MonitorConfig(window_days=told.days, reference_windows=told.reference)
    with tempfile.TemporaryDirectory() as scratch:
        rows = verdicts(ingested(told.dataset, Path(scratch)), config)
    for row in rows:
        words = ", ".join(
            f"{of['what']} {of['value']:.3g}, usual {of['usual']:.3g}" for of in row["drifted"]
        )
        print(f"{row['end']} {row['n_events']:>8,} {row['verdict']:<20} {words}")
    if told.json:
        told.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
