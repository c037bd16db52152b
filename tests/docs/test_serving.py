"""docs/serving.md: every curl in it is sent, to a small city, and answered."""

import json
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.main import get_command

from chronotope.cli.main import app
from tests.serving.town import LocalClient, Town

TEXT = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
CURLS = [shlex.split(block.replace("\\\n", " ")) for block in BLOCKS if block.startswith("curl")]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the commands print, one after the other."""
    town, said = Town.build(tmp_path_factory.mktemp("root")), []
    with LocalClient(town.app()) as client:
        for words in CURLS:
            address = urlsplit(next(word for word in words if word.startswith("http")))
            path = f"{address.path}?{address.query}" if address.query else address.path
            if "-d" in words:
                reply = client.post(path, json=json.loads(words[words.index("-d") + 1]))
            else:
                reply = client.get(path)
            assert reply.status_code == 200, reply.text
            said.append(reply.json())
    return said


def test_every_command_is_answered(answers: list[dict[str, Any]]) -> None:
    asked, sent, liked, predicted, why, item, kept, stored, became = answers
    assert (asked["n_history"], len(asked["items"])) == (3, 5)
    assert (sent["user_id"], sent["items"][0]["id"]) == (None, "i03")
    assert not {"i03", "i05"} & {each["id"] for each in liked["items"]}
    assert (liked["n_history"], len(liked["items"])) == (0, 5)
    assert (len(predicted["place_forecasts"]), len(predicted["history"])) == (3, 3)
    (explained,) = why["items"]
    assert explained["reason"] == "follows i02"
    assert explained["why"]
    assert (item["id"], item["similar"]) == ("i03", [])  # its items have no content
    assert kept == {"n_received": 1, "n_new": 1, "n_unknown_items": 0, "n_not_stored": 0}
    assert (stored["n_new"], stored["items"]) == (1, ["/new-items/i99"])
    assert became["state"] == "waiting"  # the town's graph was made by hand


def test_the_options_it_names_are_there() -> None:
    known = {flag for p in get_command(app).commands["serve"].params for flag in p.opts}  # type: ignore[attr-defined]
    named = set(re.findall(r"`(--[a-z-]+)", TEXT))
    assert len(named) >= 3
    assert named <= known
