"""No password, key or token stands in a text that was masked; what is no secret stays."""

import pytest

from chronotope.contracts.escaping import visible_line, visible_text
from chronotope.runtime.secrets import mask_secrets

SECRET = "p4ss/w@rd!"  # noqa: S105 - of nobody
PLAIN = "hunter22"

TEXTS = (
    f"no answer from postgresql+psycopg://ada:{SECRET}@db:5432/mlflow",
    f"redis://:{PLAIN}@127.0.0.1:6379/0 refused",
    f"host=db user=ada password={PLAIN} dbname=x",
    f"{{'password': '{PLAIN}', 'user': 'ada'}}",
    f'{{"api_key": "{PLAIN}"}}',
    f"AWS_SECRET_ACCESS_KEY={PLAIN}",
    f"Authorization: Bearer {PLAIN}",
    f"PREFECT_API_AUTH_STRING={PLAIN}",
    f"https://h/x?token={PLAIN}&page=2",
    f"aws_access_key_id={PLAIN}",
)


@pytest.mark.parametrize("text", TEXTS)
def test_secrets_are_masked(text: str) -> None:
    masked = mask_secrets(text)
    assert "***" in masked
    assert not any(secret in masked for secret in (SECRET, PLAIN, "w@rd"))


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////data/mlruns/mlflow.db: file is not a database",
        "http://127.0.0.1:8000/health did not answer",
        "/data/lake/shop: Received: [Errno 28] No space left on device",
        "s3://bucket/lake/shop",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask_secrets(text) == text


def test_values_of_the_environment_are_masked_wherever_they_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "admin:open-sesame")
    monkeypatch.setenv("CHRONOTOPE_STORE", f"redis://:{PLAIN}@h/0")
    told = mask_secrets(f"refused admin:open-sesame and {PLAIN}")
    assert told == "refused *** and ***"


def test_nothing_that_is_printed_steers_a_terminal() -> None:
    everything = "".join(map(chr, range(0x2100))) + "\u2066\udcff"
    shown = visible_text(everything)
    assert not [c for c in shown if (ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160]
    assert not set("\u202e\u2028\u2066\udcff") & set(shown)
    assert shown.encode("utf-8")
    assert visible_text("tea \u00fc \u8336 \U0001f375") == "tea \u00fc \u8336 \U0001f375"
    assert visible_line("a\r\nb\x1b[1m") == "a b\\x1b[1m"


def test_the_working_folder_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", "/srv/chronotope")
    monkeypatch.setenv("OLDPWD", "/home/ada")
    text = "No such dataset below /srv/chronotope, nor in /home/ada"
    assert mask_secrets(text) == text
