"""The copy in a real Postgres: typed columns, replaced in one transaction, no password shown."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chronotope.contracts.errors import StoreError
from chronotope.scoring.score_users import score_users
from tests.inference.hand_made import LAST_S
from tests.postgres import Postgres, postgres
from tests.scoring.crowd import N_USERS, build_town, config

pytestmark = pytest.mark.slow
AT = datetime.fromtimestamp(LAST_S + 3600, UTC)
N_ROWS = 5 * (N_USERS + 3)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


def test_rows_have_types_and_a_failed_copy_leaves_the_old_ones(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = build_town(tmp_path)
    monkeypatch.setenv("MAILING_PASSWORD", server.password)
    url = server.url("shop").replace(server.password, "$MAILING_PASSWORD")
    options = {"out": url, "sql_table": "next_items", "scored_at": AT}
    for _ in range(2):  # the second run replaces the rows of the first
        result = score_users("city", config(tmp_path, **options), load=town.load)
        assert (result.n_exported, server.password in str(result.out)) == (N_ROWS, False)
    query = "SELECT count(*), min(scored_at), bool_or(is_new), max(rank) FROM next_items"
    assert server.rows("shop", query) == [(N_ROWS, AT, True, 5)]
    with server.connected("shop") as connection:
        connection.execute("ALTER TABLE next_items ADD CHECK (rank < 3) NOT VALID")
    with pytest.raises(StoreError, match="refused the copy") as refused:
        score_users("city", config(tmp_path, **options), load=town.load)
    assert server.password not in str(refused.value)
    assert server.rows("shop", "SELECT count(*) FROM next_items") == [(N_ROWS,)]
