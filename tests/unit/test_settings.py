"""Settings: what the environment may say, and what is said when it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import Settings, SettingsError, load, markdown


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"INNERLOOP_{name.upper()}", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)


def test_environment_and_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNERLOOP_PORT", "9000")
    monkeypatch.setenv("INNERLOOP_HOST", "0.0.0.0")
    assert load(port=1234, host=None).port == 1234
    assert load(port=None).port == 9000
    assert load().host == "0.0.0.0"


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("INNERLOOP_PORT", "banana", "from 0 to 65535"),
        ("INNERLOOP_PORT", "65536", "from 0 to 65535"),
        ("INNERLOOP_REDIS_TIMEOUT", "0.1", "from 0.5 to 60"),
        ("INNERLOOP_DEVICE", "tpu", "`cuda:N`"),
        ("INNERLOOP_LOG_LEVEL", "loud", "`warning`"),
    ],
)
def test_a_bad_value_names_itself_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert variable in str(caught.value)
    assert value in str(caught.value)
    assert allowed in str(caught.value)


def test_every_bad_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNERLOOP_PORT", "x")
    monkeypatch.setenv("INNERLOOP_BATCH", "0")
    with pytest.raises(SettingsError, match=r"(?s)INNERLOOP_PORT.*INNERLOOP_BATCH"):
        load()


def test_a_redis_address_is_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "http://user:hunter2@somewhere")
    with pytest.raises(SettingsError, match="redis://") as caught:
        load()
    assert "hunter2" not in str(caught.value)


def test_plain_redis_url_is_taken_and_ours_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://one")
    assert load().redis_url == "redis://one"
    monkeypatch.setenv("INNERLOOP_REDIS_URL", "redis://two")
    assert load().redis_url == "redis://two"


def test_keys_are_split_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INNERLOOP_API_KEYS", " alpha, beta,, ")
    settings = load()
    assert [key.get_secret_value() for key in settings.api_keys] == ["alpha", "beta"]
    assert "alpha" not in repr(settings)


def test_the_environment_for_a_child_holds_the_changes() -> None:
    environment = load().environment(redis_url="unix:///x")
    assert environment["INNERLOOP_REDIS_URL"] == "unix:///x"
    assert "PATH" in environment


def test_every_field_is_described_and_in_the_table() -> None:
    table = markdown()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"`INNERLOOP_{name.upper()}`" in table


def test_readme_holds_the_table() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    written = readme.split("<!-- settings -->")[1].split("<!-- /settings -->")[0]
    assert written.strip() == markdown(), "run: innerloop settings --markdown"
