"""What the comparison with other libraries does before and after they run."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.peers import __main__ as peers
from benchmarks.peers import data, environments, page, ranking
from benchmarks.peers.roster import OWN, ROSTER, Entry
from benchmarks.peers.workers import exchange
from chronotope.contracts.errors import ChronotopeError, ConfigError
from chronotope.contracts.event_log import EventLog
from tests.real_data import DATA_ROOT, MOVIELENS

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def log() -> EventLog:
    """Two users; the last basket of the first has two items."""
    return EventLog.sorted(
        user_idx=[1, 1, 1, 1, 2, 2],
        item_idx=[1, 2, 3, 1, 2, 3],
        occurred_s=[10, 20, 30, 30, 15, 40],
    )


@pytest.fixture
def task(tmp_path: Path) -> exchange.Task:
    """A task of two targets and four item indices."""
    return exchange.Task(tmp_path, tmp_path / "out", "m", {}, 3, 4, 2, 9.0, 1, 0)


def test_leave_one_out_takes_the_whole_basket_out_of_training(log: EventLog) -> None:
    split = data.cut(log, "leave_one_out")
    assert split.targets.tolist() == [3, 5]
    assert split.train.occurred_s.tolist() == [10, 20, 15]


def test_global_cut_trains_only_on_what_is_before_it(log: EventLog) -> None:
    split = data.cut(log, "global")
    assert split.targets.tolist() == [5]
    assert split.train.occurred_s.max() < 40


def test_histories_end_before_the_basket(log: EventLog) -> None:
    told = data.histories(log, np.array([3, 5])).to_pydict()
    assert told["row"] == [0, 0, 1]
    assert told["item_idx"] == [1, 2, 2]
    assert told["occurred_s"] == [10, 20, 15]


def test_exported_scores_are_ranked_with_ties(log: EventLog) -> None:
    scores = np.array([[0, 5, 1, 1], [9, 1, 1, 1]], dtype=np.float32)  # rows of users 1 and 2
    metrics, rank = ranking.evaluate_scores(
        scores, log, np.array([3, 5]), n_items=4, drops_seen=False
    )
    assert rank.tolist() == [1.0, 2.0]
    assert metrics["acc_1"] == 0.5
    assert metrics["n_return"] == 1


def test_what_was_seen_can_be_ruled_out(log: EventLog) -> None:
    scores = np.array([[0, 3, 2, 1]], dtype=np.float32)
    _, rank = ranking.evaluate_scores(scores, log, np.array([5]), n_items=4, drops_seen=True)
    assert rank.tolist() == [2.0]  # item 2 was seen, item 1 is still ahead


def test_lead_is_ours_minus_theirs() -> None:
    ours, theirs = np.array([1.0, 1.0, 20.0]), np.array([20.0, 1.0, 20.0])
    assert ranking.lead(ours, theirs).estimate == pytest.approx(1 / 3)


def test_scores_file_is_read_back_by_numpy(task: exchange.Task) -> None:
    file = exchange.ScoresFile(task)
    for row in ([0, 1, 2, 3], [4, 5, 6, 7]):
        file.append(np.array([row], dtype=np.float64))
    file.close()
    read = np.load(task.out / "scores.npy")
    assert read.dtype == np.float32
    assert read.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_strangers_get_popularity_and_untrained_items_nothing(
    task: exchange.Task, log: EventLog
) -> None:
    train = log.take(np.array([True, True, False, True, False, False]))
    columns = {name: getattr(train, name) for name in ("user_idx", "item_idx", "occurred_s")}
    pq.write_table(data.pa.table(columns), task.folder / "train.parquet")
    vectors = np.array([[1.0], [2.0]], dtype=np.float32)
    items = np.array([[3.0], [4.0]], dtype=np.float32)
    exchange.write_scores(task, vectors, items, np.array([1, 2]), np.array([True, False]))
    read = np.load(task.out / "scores.npy").tolist()
    assert read == [[-np.inf, 3, 4, -np.inf], [0, 2, 1, 0]]


def test_peak_memory_is_not_that_of_the_parent(task: exchange.Task) -> None:
    task.out.mkdir()
    held = np.ones(50_000_000)  # 400 MB that the child must not be charged with
    code = (
        "from benchmarks.peers.workers import exchange; from pathlib import Path;"
        f"exchange.write_stats(exchange.Task(Path(), Path({str(task.out)!r}), 'm', {{}},"
        " 3, 4, 2, 9.0, 1, 0), {})"
    )
    mine = environments.environment(1)
    subprocess.run([sys.executable, "-c", code], check=True, env=mine)  # noqa: S603
    stats = json.loads((task.out / "stats.json").read_text(encoding="utf-8"))
    assert 10 < stats["peak_mb"] < held.nbytes / 2**20


def test_first_epoch_that_was_cut_is_extrapolated(
    task: exchange.Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = exchange.Clock(task)
    epochs = exchange.Epochs(clock)
    times = iter([1.0, 3.0, 5.0, 9.0])
    monkeypatch.setattr(clock, "seconds", lambda: next(times))
    epochs.began()
    epochs.batch_done()
    assert epochs.seconds(10) == 20.0  # one of ten batches took 2 s
    epochs.ended()
    epochs.ended()
    assert epochs.seconds(10) == 4.0
    assert epochs.done == 2


def _row(model: str, ndcg: float = 0.1) -> dict[str, Any]:
    numbers = dict.fromkeys(peers.COLUMNS.values(), 1.0)
    about = {"dataset": "movielens_100k", "protocol": "global", "model": model}
    return numbers | about | {"ndcg_10": ndcg, "mrr": float("nan")}


def test_rows_of_other_models_stay_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    for row in (_row("chronotope"), _row("ease", 0.2), _row("chronotope", 0.3)):
        peers.keep(row, path)
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert [(r["model"], r["ndcg_10"], r["mrr"]) for r in rows] == [
        ("ease", 0.2, None),
        ("chronotope", 0.3, None),
    ]
    assert peers.table(rows, "movielens_100k", "global").row_count == 2
    assert peers.table(rows, "movielens_100k", "leave_one_out").row_count == 0


def test_each_environment_pins_the_library_it_is_for() -> None:
    for name in environments.ENVIRONMENTS:
        pins = environments.requirements(name).read_text(encoding="utf-8")
        assert re.search(rf"^{name}(\[torch\])?==\d", pins, re.MULTILINE)
    assert {entry.env for entry in ROSTER.values()} == {OWN, *environments.ENVIRONMENTS}


def test_settings_for_large_catalogues_replace_the_others() -> None:
    small, large = (ROSTER["implicit_als"].settings_for(n) for n in (1_000, 20_000))
    assert (small["weights"], large["weights"]) == ("bm25", "counts")
    assert small["iterations"] == large["iterations"] == 15
    assert "loss" not in ROSTER["rectools_sasrec"].settings_for(1_000)


def test_filled_environment_is_not_made_again(tmp_path: Path) -> None:
    home = tmp_path / "implicit"
    home.mkdir()
    pins = environments.requirements("implicit").read_text(encoding="utf-8")
    (home / environments.READY).write_text(pins, encoding="utf-8")
    assert environments.interpreter("implicit", tmp_path).parent.parent == home


def test_environment_that_cannot_be_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], returncode=1)
    monkeypatch.setattr(environments.venv, "create", lambda *_, **__: None)
    monkeypatch.setattr(environments.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ConfigError, match="environment of recbole"):
        environments.interpreter("recbole", tmp_path)


def test_worker_that_breaks_tells_its_last_line(tmp_path: Path) -> None:
    chosen = peers.parser().parse_args(["--data", str(tmp_path)])
    with pytest.raises(ChronotopeError, match="run_nobody"):
        peers.run_worker(Entry("nobody", "x"), {}, tmp_path, tmp_path / "out", chosen)


def test_commands_of_the_page_are_understood() -> None:
    text = (PROJECT / "docs" / "peers.md").read_text(encoding="utf-8").replace("\\\n", " ")
    told = re.findall(r"^python -m benchmarks.peers (.*)$", text, re.MULTILINE)
    assert len(told) >= 1
    for words in told:
        peers.parser().parse_args(shlex.split(words))


def test_every_setting_is_on_the_page() -> None:
    text = (PROJECT / "docs" / "peers.md").read_text(encoding="utf-8")
    assert not [name for name in ROSTER if f"`{name}`" not in text]


def test_unknown_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        peers.main(["--data", "x", "--models", "oracle"])
    assert "choose from" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not MOVIELENS.is_dir(), reason=f"needs the ratings in {MOVIELENS}")
def test_baselines_run_from_end_to_end(tmp_path: Path) -> None:
    out = tmp_path / "rows.json"
    places = ["--data", str(DATA_ROOT), "--work", str(tmp_path), "--json", str(out)]
    peers.main([*places, "--models", "popularity,markov"])
    first, second = json.loads(out.read_text(encoding="utf-8"))
    assert first["n_targets"] == 166
    assert second["ndcg_10"] > first["ndcg_10"] > 10 / 1682 / 4
    assert second["n_return"] == 0


def test_page_is_filled_between_its_markers() -> None:
    old = "a\n<!-- rows: movielens_100k global -->\nold\n<!-- end -->\nb\n"
    rows = [_row("ease", 0.1) | {"ndcg_10_low": 0.0, "ndcg_10_high": 0.2, "mrr": None}]
    rows[0] |= {"stopped_by": "budget", "budget_s": 60.0}
    new = page.filled(old, [*rows, rows[0] | {"model": "markov", "ndcg_10": 0.3}])
    assert new.startswith("a\n")
    assert new.endswith("<!-- end -->\nb\n")
    assert "old" not in new
    assert new.index("`markov`") < new.index("`ease` | 0.1000 [0.000, 0.200]")
    assert "| budget, 60 s |" in new
    assert page.filled(new, []) == new
