"""Certificates of erasures: read by every root that shares the state, and checked."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chronotope.audit import AuditTrail
from chronotope.cli.main import app
from chronotope.contracts.errors import StoreError
from chronotope.erasure import Certificate, forget_users, read_certificates
from chronotope.lake import Interaction, InteractionLog, Lake
from chronotope.runtime.state import read_document, write_document
from chronotope.runtime.workspace import Workspace
from tests.erasure.test_forget_users import ANN, BOB, events


@pytest.fixture
def certificate(state_store: str, tmp_path: Path) -> Certificate:
    """Certificate of an erasure on the root ``a``."""
    assert state_store
    workspace = Workspace(tmp_path / "a")
    Lake(workspace.lake("cafe")).merge_events(events((ANN, "a1"), (BOB, "b1")))
    with closing(InteractionLog(workspace.interactions("cafe"))) as log:
        log.append([Interaction(key="1", kind="event", payload={"user_id": ANN})])
    return forget_users(workspace.root, "cafe", [ANN])


def test_every_root_that_shares_the_state_sees_certificate_and_trail(
    certificate: Certificate, state_store: str, tmp_path: Path
) -> None:
    (tmp_path / "b").mkdir()
    for name, is_seen in (("a", True), ("b", state_store == "postgres")):
        root = tmp_path / name
        assert read_certificates(root, "cafe") == [certificate] * is_seen
        check = AuditTrail(Workspace(root).audit()).verify()
        assert (check.n_entries, check.problem) == (int(is_seen), "")
        words = ["audit", "certificates", "cafe", "--root", str(root)]
        result = CliRunner().invoke(app, [*words, "--json"])
        assert len(json.loads(result.stdout)["certificates"]) == is_seen
        assert ("No user" in CliRunner().invoke(app, words).output) is not is_seen
    assert certificate.n_removed
    assert (tmp_path / "a" / certificate.path).exists() is (state_store == "files")


def test_a_changed_certificate_is_refused(certificate: Certificate, tmp_path: Path) -> None:
    path = tmp_path / "a" / certificate.path
    content = read_document(path)
    assert content is not None
    write_document(path, content.replace('"n_files_searched": ', '"n_files_searched": 9'))
    with pytest.raises(StoreError, match="checksum"):
        read_certificates(tmp_path / "a", "cafe")
