"""The benchmark cuts the stream as published and repeats the known numbers."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import next_place
from chronotope.contracts.errors import SourceError
from tests.real_data import CHECK_INS, DATA_ROOT

needs_data = [
    pytest.mark.data,
    pytest.mark.skipif(not CHECK_INS.is_dir(), reason=f"needs the check-ins in {CHECK_INS}"),
]


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"checkins\.parquet"):
        next_place.read_stream(tmp_path)


def test_unknown_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        next_place.main(["--data", "x", "--models", "oracle"])
    assert "choose from" in capsys.readouterr().err


@pytest.fixture(scope="module")
def stream() -> next_place.Stream:
    return next_place.read_stream(CHECK_INS)


class TestRealStream:
    """Facts of the published log."""

    pytestmark = needs_data

    def test_has_the_published_size(self, stream: next_place.Stream) -> None:
        sizes = (len(stream.log), len(stream.base), stream.catalog.n_items, len(stream.targets))
        assert sizes == (113_344, 56_711, 4_989, 43_894)

    def test_rounds_hold_equally_many_events(self, stream: next_place.Stream) -> None:
        later = np.isin(stream.log.session_idx, stream.base.session_idx, invert=True)
        at_s = stream.log.occurred_s[later]
        in_round = np.diff(np.searchsorted(np.sort(at_s), [*stream.rounds, at_s.max() + 1]))
        assert len(in_round) == 15
        assert np.ptp(in_round) <= 3

    def test_users_never_reach_back_from_a_target(self, stream: next_place.Stream) -> None:
        base_end = np.zeros(stream.log.user_idx.max() + 1, np.int64)
        np.maximum.at(base_end, stream.base.user_idx, stream.base.occurred_s)
        at = stream.targets
        assert (stream.log.occurred_s[at] >= base_end[stream.log.user_idx[at]]).all()

    def test_development_and_final_targets_are_apart(self, stream: next_place.Stream) -> None:
        development, final = (
            next_place.some_targets(stream, part).targets for part in ("development", "final")
        )
        assert (len(development), len(final)) == (14_632, 29_262)
        assert not np.isin(development, final).any()
        assert next_place.some_targets(stream, "all") is stream

    def test_user_counts_repeat_known_accuracy(self, tmp_path: Path) -> None:
        out = tmp_path / "rows.json"
        next_place.main(["--data", str(DATA_ROOT), "--models", "user_counts", "--json", str(out)])
        (row,) = json.loads(out.read_text(encoding="utf-8"))
        assert row["acc_10"] == pytest.approx(0.624, abs=0.001)
        assert row["mrr"] == pytest.approx(0.310, abs=0.001)
        assert 0.165 <= row["acc_1"] <= 0.168

    def test_the_papers_protocol_has_one_late_target_for_each_trajectory(
        self, stream: next_place.Stream
    ) -> None:
        late = next_place.last_check_ins(stream)
        log, targets = late.log, late.targets
        assert len(targets) == len(np.unique(log.session_idx[targets]))
        assert log.occurred_s[targets].min() > np.quantile(log.occurred_s, 0.9)
        assert late.base.occurred_s.max() <= np.quantile(log.occurred_s, 0.8)
        assert np.isin(log.item_idx[targets], late.base.item_idx).all()
        assert np.isin(log.user_idx[targets], late.base.user_idx).all()
        following = np.minimum(targets + 1, len(log) - 1)
        is_last = log.session_idx[following] != log.session_idx[targets]
        assert (is_last | (following == targets)).all()
        assert (log.session_idx[targets - 1] == log.session_idx[targets]).all()

    def test_own_counts_under_the_papers_protocol(self, tmp_path: Path) -> None:
        out = tmp_path / "rows.json"
        arguments = ["--data", str(DATA_ROOT), "--models", "user_counts", "--time", "given"]
        next_place.main([*arguments, "--protocol", "last_check_in", "--json", str(out)])
        (row,) = json.loads(out.read_text(encoding="utf-8"))
        assert row["protocol"] == "last_check_in"
        assert 0.15 < row["acc_1"] < 0.3
