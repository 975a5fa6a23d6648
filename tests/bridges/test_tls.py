"""Databases that speak TLS: the right authority and name are asked for, and what is wrong is said."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bridges.config import load
from bridges.sources import SourceUnavailable
from bridges.sources.opening import open_source
from bridges.users.mysql import MysqlUsers
from bridges.users.people import SourceAway, Table, Tls
from tests.bridges.support import Bridge
from tests.support.certificates import Certificates, make_certificates
from tests.support.fixtures import unavailable
from tests.support.mariadb import MariaDb, MariaDbUnavailable, running_mariadb
from tests.support.postgres import PostgresUnavailable, running_cluster

CONFIG = """
[appservice]
id = "db"
homeserver = "http://127.0.0.1:1"
server_name = "hromada.test"
as_token = {{ file = "{folder}/as_token" }}
hs_token = {{ file = "{folder}/hs_token" }}
[source.shop]
driver = "{driver}"
url = {{ env = "SHOP_URL" }}
tls = {tls}
"""


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A server with a certificate for `localhost`."""

    driver: str
    url: str
    """With 127.0.0.1 as its host."""
    certificates: Certificates


@pytest.fixture(scope="module", params=["postgresql", "mysql"])
def encrypted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    """A database with TLS."""
    certificates = make_certificates(tmp_path_factory.mktemp("tls"))
    try:
        if request.param == "mysql":
            files = (f"--ssl-cert={certificates.certificate}", f"--ssl-key={certificates.key}")
            with running_mariadb(*files) as server:
                yield Encrypted("mysql", server.make_database(), certificates)
            return
        with running_cluster() as cluster:
            owner = cluster.data.stat()
            for file in (certificates.certificate, certificates.key):
                shutil.copy(file, cluster.data)
                (cluster.data / file.name).chmod(0o600)
                shutil.chown(cluster.data / file.name, owner.st_uid, owner.st_gid)
            cluster.sql("ALTER SYSTEM SET ssl = on")
            cluster.sql("SELECT pg_reload_conf()")
            yield Encrypted("postgresql", cluster.make_database(), certificates)
    except (PostgresUnavailable, MariaDbUnavailable) as reason:
        unavailable(str(reason))


@asynccontextmanager
async def source(folder: Path, patch: pytest.MonkeyPatch, driver: str, url: str, tls: str) -> AsyncIterator[Any]:
    """The bridge's side of it."""
    patch.setenv("SHOP_URL", url)
    bridge = Bridge(folder)
    bridge.file.write_text(CONFIG.format(folder=folder, driver=driver, tls=tls))
    opened = open_source(load(bridge.file), "shop")
    try:
        yield opened
    finally:
        await opened.close()


def verified(certificates: Certificates) -> str:
    """The setting that asks for a certificate of that authority."""
    return f'{{ mode = "verify-full", ca = "{certificates.authority}" }}'


async def test_the_right_authority_and_name(
    encrypted: Encrypted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = encrypted.url.replace("127.0.0.1", "localhost")
    cipher = "SHOW STATUS LIKE 'Ssl_version'"
    if encrypted.driver == "postgresql":
        cipher = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    for tls in (verified(encrypted.certificates), '{ mode = "require" }'):
        async with source(tmp_path, monkeypatch, encrypted.driver, url, tls) as opened:
            assert str((await opened.fetch_all(cipher))[0][1]).startswith("TLSv1.")


async def test_a_wrong_authority_is_refused(
    encrypted: Encrypted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = encrypted.url.replace("127.0.0.1", "localhost")
    other = make_certificates(tmp_path / "other")
    for tls in (verified(other), "{}"):
        async with source(tmp_path, monkeypatch, encrypted.driver, url, tls) as opened:
            with pytest.raises(SourceUnavailable, match=r"certificate of the database is not trusted.* tls\.ca"):
                await opened.fetch_all("SELECT 1")


async def test_a_wrong_name_is_refused(encrypted: Encrypted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = verified(encrypted.certificates)
    async with source(tmp_path, monkeypatch, encrypted.driver, encrypted.url, tls) as opened:
        with pytest.raises(SourceUnavailable, match=r"certificate of the database is not trusted: .*127\.0\.0\.1"):
            await opened.fetch_all("SELECT 1")


@pytest.mark.parametrize("driver", ["postgresql", "mysql"])
async def test_a_server_without_it_is_refused(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    server: Any = request.getfixturevalue("postgres_cluster" if driver == "postgresql" else "mariadb")
    async with source(tmp_path, monkeypatch, driver, server.make_database(), "{}") as opened:
        with pytest.raises(SourceUnavailable, match="SSL"):
            await opened.fetch_all("SELECT 1")


async def test_a_users_table_is_not_read_without_it(mariadb: MariaDb) -> None:
    table = Table("wp_users", "ID", ("user_login",), "user_pass", ("wordpress",))
    users = MysqlUsers(table, mariadb.make_database(), tls=Tls(), seconds=5, pool=1)
    with pytest.raises(SourceAway, match="no encryption"):
        await users.check()
    await users.close()
