import pytest
from pydantic import ValidationError

from chassis.telegram_settings import REAL_API, SANDBOX_API, TelegramSettings
from deploy.sandbox.telegram.sandbox import TOKEN


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KOPILKA_TELEGRAM_API", "KOPILKA_TELEGRAM_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_the_sandbox_is_spoken_to_unless_a_bots_token_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (TelegramSettings().bot_api, TelegramSettings().bot_token) == (SANDBOX_API, TOKEN)
    monkeypatch.setenv("KOPILKA_TELEGRAM_TOKEN", "123:abc")
    assert (TelegramSettings().bot_api, TelegramSettings().bot_token) == (REAL_API, "123:abc")
    monkeypatch.setenv("KOPILKA_TELEGRAM_API", "http://127.0.0.1:9/")
    assert (TelegramSettings().bot_api, TelegramSettings().bot_token) == ("http://127.0.0.1:9", "123:abc")


def test_what_is_no_token_is_refused_and_a_token_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOPILKA_TELEGRAM_TOKEN", "123:abc")
    assert "123:abc" not in f"{TelegramSettings()!r} {TelegramSettings()} {TelegramSettings().model_dump_json()}"
    monkeypatch.setenv("KOPILKA_TELEGRAM_TOKEN", "123-abc")
    with pytest.raises(ValidationError, match="telegram_token") as refused:
        TelegramSettings()
    assert "123-abc" not in str(refused.value)
