"""The log of labels: the latest counts, and a killed process loses none."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chronotope.contracts.errors import StoreError
from chronotope.lake.event_labels import EventLabel, EventLabelLog, read_event_labels

WRITER = """
import sys
from pathlib import Path
from chronotope.lake.event_labels import EventLabel, EventLabelLog
log = EventLabelLog(Path(sys.argv[1]))
for number in range(100_000):
    log.append([EventLabel(f"e{number}", True)])
    print(number, flush=True)
"""


@pytest.mark.usefixtures("state_store")
def test_the_latest_label_of_an_event_counts(tmp_path: Path) -> None:
    path = tmp_path / "event_labels.db"
    assert read_event_labels(path) == {}
    log = EventLabelLog(path)
    assert log.append([EventLabel("a", True), EventLabel("b", False)]) == 2
    assert log.append([EventLabel("a", True)]) == 0
    assert log.append([EventLabel("a", False)]) == 1
    log.close()
    assert read_event_labels(path) == {"a": False, "b": False}


def test_a_killed_process_loses_no_acknowledged_label(tmp_path: Path) -> None:
    path = tmp_path / "event_labels.db"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:  # noqa: S603
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(30)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += writer.stdout.readlines()
    n_acknowledged = sum(line.endswith("\n") for line in acknowledged)
    labels = read_event_labels(path)
    assert n_acknowledged <= len(labels) <= n_acknowledged + 1
    assert {f"e{number}" for number in range(n_acknowledged)} <= set(labels)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("no database", encoding="utf-8")
    with pytest.raises(StoreError, match="log of labels"):
        read_event_labels(tmp_path / "x.db")
