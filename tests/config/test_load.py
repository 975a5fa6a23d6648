"""Configuration: sources, their order, and every fault at once."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from homeserver.config import docs
from homeserver.config.fields import sections, settings
from homeserver.config.keyfiles import UnsafeFile, create_private, dump_signing_key, load_signing_key, new_signing_key
from homeserver.config.load import ConfigError, load, split_address
from homeserver.config.model import Config
from homeserver.ports.ratelimits import Rate
from homeserver.system import SystemEntropy


def write(folder: Path, text: str) -> Path:
    file = folder / "hromada.toml"
    file.write_text(text)
    return file


def faults(file: Path | None = None, environment: dict[str, str] | None = None, **flags: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file, environment or {}, {name.replace("__", "."): value for name, value in flags.items()})
    return caught.value.faults


def test_defaults_are_the_model() -> None:
    assert load(None, {}, {}) == Config()
    assert Config().registration.mode == "closed"
    assert Config().rooms.default_version == "12"


def test_flags_go_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, '[server]\nname = "file"\nlisten = "127.0.0.1:1"\n[limits]\nmessages_page = 50\n')
    environment = {"HROMADA_SERVER_NAME": "env", "HROMADA_SERVER_LISTEN": "127.0.0.1:2", "OTHER": "x"}
    config = load(file, environment, {"server.name": "flag"})
    assert (config.server.name, config.server.listen, config.limits.messages_page) == ("flag", "127.0.0.1:2", 50)


def test_every_setting_has_an_environment_variable() -> None:
    samples = {str: "x", bool: "off", int: "70000", Rate: "2.5/7"}
    config = load(
        None,
        {
            "HROMADA_RATE_LIMITS_ENABLED": samples[bool],
            "HROMADA_RATE_LIMITS_MESSAGE": samples[Rate],
            "HROMADA_LIMITS_BODY_BYTES": samples[int],
            "HROMADA_SERVER_TRUSTED_PROXIES": "127.0.0.0/8, ::1/128",
            "HROMADA_SERVER_SUPPORT_PAGE": samples[str],
        },
        {},
    )
    assert config.rate_limits.enabled is False
    assert config.rate_limits.message == Rate(2.5, 7)
    assert config.limits.body_bytes == 70_000
    assert config.server.trusted_proxies == ("127.0.0.0/8", "::1/128")
    assert config.server.support_page == "x"


def test_all_faults_are_reported_together_with_the_settings_name(tmp_path: Path) -> None:
    file = write(tmp_path, '[server]\nname = "a b"\nport = 5\n[sync]\ntimeline_limit = "ten"\n[nothing]\n')
    found = faults(
        file,
        {"HROMADA_LIMITS_BODY_BYTES": "1", "HROMADA_TYPO": "x", "HROMADA_RATE_LIMITS_JOINS": "fast"},
        registration__mode="sometimes",
        server__listen="nowhere",
        rate_limits__enabled="perhaps",
        database__url="mysql://x",
        redis__url="http://x",
    )
    named = {fault.split(":")[0].split(" ")[0] for fault in found}
    assert named == {
        "server.port",
        "sync.timeline_limit",
        "nothing",
        "limits.body_bytes",
        "HROMADA_TYPO",
        "rate_limits.joins",
        "registration.mode",
        "server.listen",
        "rate_limits.enabled",
        "database.url",
        "redis.url",
        "server.name",
    }


def test_a_file_that_is_missing_or_no_toml(tmp_path: Path) -> None:
    assert "cannot be read" in faults(tmp_path / "none.toml")[0]
    assert "is not TOML" in faults(write(tmp_path, "[server"))[0]
    assert faults(write(tmp_path, "server = 1")) == ["server: is a section, not a value"]


@pytest.mark.parametrize("secret", ["hunter2", "aaaaaaaaaaaaaaaaaaaaaaaa", "registration_shared_secret"])
def test_weak_secrets_are_refused_and_not_repeated(secret: str) -> None:
    (fault,) = faults(registration__shared_secret=secret)
    assert fault.startswith("registration.shared_secret:")
    assert secret not in fault.partition(":")[2]


def test_settings_that_need_one_another() -> None:
    assert "registration.terms_url" in faults(registration__require_terms="on")[0]
    assert len(faults(auth__jwt_login="on")) == 2


@pytest.mark.parametrize(
    ("text", "expected"), [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:8008", ("::1", 8008)), ("a:1", ("a", 1))]
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert split_address(text) == expected


@pytest.mark.parametrize("text", ["", "8008", ":8008", "a:", "a:b", "a:65536", "a:-1"])
def test_bad_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        split_address(text)


@pytest.mark.parametrize("text", ["1", "0/1", "1/0", "-1/1", "1/1.5", "nan/1", "1e3/1", "1/1 "])
def test_bad_rates(text: str) -> None:
    with pytest.raises(ValueError, match="per_second/burst"):
        Rate.parse(text)


def test_the_page_names_every_setting() -> None:
    page = docs.markdown()
    for name, model in sections():
        for setting in settings(name, model):
            assert setting.variable in page
            assert setting.doc.endswith(".")


def test_the_signing_key_survives_its_file_and_is_private(tmp_path: Path) -> None:
    key = new_signing_key(SystemEntropy())
    path = tmp_path / "keys" / "signing.key"
    create_private(path, dump_signing_key(key))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_signing_key(path) == key
    with pytest.raises(FileExistsError):
        create_private(path, b"")


@pytest.mark.parametrize(
    ("content", "mode", "text"),
    [
        (b"ed25519:a_ABCD AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", 0o600, "guessed"),
        (b"ed25519:a_ABCD AAAA\n", 0o600, "not a signing key"),
        (b"nonsense", 0o600, "not a signing key"),
        (b"\n", 0o600, "empty"),
        (b"x", 0o640, "open to other users"),
        (b"x", 0o604, "open to other users"),
    ],
)
def test_unsafe_key_files(tmp_path: Path, content: bytes, mode: int, text: str) -> None:
    path = tmp_path / "signing.key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(UnsafeFile, match=text) as caught:
        load_signing_key(path)
    assert str(caught.value).startswith("server.signing_key_file:")


@pytest.mark.parametrize("listen", ["0.0.0.0:8008", "[::]:8008", "192.0.2.1:8008", "matrix.example.org:8008"])
def test_no_stranger_becomes_administrator_by_being_first(listen: str) -> None:
    assert not load(None, {}, {"server.listen": listen}).registration.first_user
    with pytest.raises(ConfigError) as refused:
        load(None, {"HROMADA_REGISTRATION_FIRST_USER": "true"}, {"server.listen": listen})
    assert "registration.first_user" in refused.value.faults[0]


@pytest.mark.parametrize("listen", ["127.0.0.1:8008", "localhost:0", "[::1]:8008"])
def test_on_this_machine_the_first_user_may_be_administrator(listen: str) -> None:
    flags = {"server.listen": listen}
    assert load(None, {"HROMADA_REGISTRATION_FIRST_USER": "true"}, flags).registration.first_user
    assert not load(None, {}, flags).registration.first_user
