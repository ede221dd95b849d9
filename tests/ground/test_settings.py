"""Settings: precedence, origins, clear errors, hidden secrets."""

from pathlib import Path

import pytest

from gnomon import settings
from gnomon.errors import ConfigError


def test_precedence_is_flag_then_environment_then_file_then_default(tmp_path: Path) -> None:
    file = tmp_path / "gnomon.toml"
    file.write_text("[server]\nport = 1\nhost = '127.0.0.2'\n[log]\nlevel = 'debug'\n")
    env = {"GNOMON_SERVER__PORT": "2", "GNOMON_SERVER__HOST": "127.0.0.3"}
    loaded = settings.load({"server.port": 3, "home": None}, env=env, file=file)
    assert loaded.settings.server.port == 3
    assert loaded.settings.server.host == "127.0.0.3"
    assert loaded.settings.log.level == "debug"
    assert loaded.settings.log.format == "auto"
    origins = {key: origin for key, _, origin in settings.show(loaded)}
    assert origins["server.port"] == "flag --server.port"
    assert origins["server.host"] == "environment GNOMON_SERVER__HOST"
    assert origins["log.level"] == str(file)
    assert origins["log.format"] == "default"


@pytest.mark.parametrize(
    ("env", "names"),
    [
        ({"GNOMON_SERVER__PROT": "1"}, ["server.prot", "GNOMON_SERVER__PROT", "server.port"]),
        ({"GNOMON_SERVER__PORT": "x"}, ["server.port", "'x'", "integer"]),
        ({"GNOMON_SERVER__PORT": "70000"}, ["server.port", "65535"]),
        ({"GNOMON_LOG__LEVEL": "loud"}, ["log.level", "loud", "warning"]),
        ({"GNOMON_CONFIG": "/nowhere/gnomon.toml"}, ["/nowhere/gnomon.toml"]),
        ({"GNOMON_SERVER__API_KEY_FILE": "/nowhere/key"}, ["server.api_key_file", "/nowhere/key"]),
    ],
)
def test_an_error_names_the_key_the_value_and_the_next_step(
    env: dict[str, str], names: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings.load(env=env)
    for name in names:
        assert name in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[server\n", "not valid TOML"),
        ("[server]\nprot = 1\n", "server.port"),
        ("wat = 1\n", "wat"),
        ("[server]\napi_key = 'hush-hush'\n", "GNOMON_SERVER__API_KEY"),
        ("server = 3\n", "server"),
    ],
)
def test_a_bad_file_is_refused_without_showing_a_secret(
    tmp_path: Path, text: str, name: str
) -> None:
    file = tmp_path / "gnomon.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        settings.load(env={}, file=file)
    assert name in str(caught.value)
    assert "hush-hush" not in str(caught.value)


def test_secrets_are_hidden_and_can_come_from_a_file(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("hush-hush\n")
    loaded = settings.load(env={"GNOMON_SERVER__API_KEY_FILE": str(key)})
    assert loaded.settings.server.api_key is not None
    assert loaded.settings.server.api_key.get_secret_value() == "hush-hush"
    assert "hush-hush" not in repr(settings.show(loaded)) + repr(loaded)
    assert {k: o for k, _, o in settings.show(loaded)}["server.api_key"] == f"file {key}"


def test_lists_in_the_environment_are_separated_by_commas() -> None:
    loaded = settings.load(env={"GNOMON_NET__ALLOW": "127.0.0.1:80, [::1]:81"})
    assert loaded.settings.net.allow == ("127.0.0.1:80", "[::1]:81")


def test_settings_are_frozen() -> None:
    loaded = settings.load(env={})
    with pytest.raises(Exception, match="frozen"):
        loaded.settings.server.port = 1  # type: ignore[misc]
