"""Databases that speak TLS: the right authority and name are asked for, and what is wrong is said."""

from __future__ import annotations

import gc
import shutil
import ssl
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
from tests.support.wiredouble import WireDouble

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


# pymongo leaves the socket of a handshake that failed to the garbage collection.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_mongodb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of a server that is named `localhost` by its certificate."""
    certificates, other = make_certificates(tmp_path / "tls"), make_certificates(tmp_path / "other")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.certificate, certificates.key)
    async with WireDouble().running(context) as server:
        for host, tls, is_right in (
            ("localhost", verified(certificates), True),
            ("localhost", '{ mode = "require" }', True),
            ("localhost", verified(other), False),
            ("127.0.0.1", verified(certificates), False),
        ):
            server.host = host
            # So long it is tried what never succeeds; what does succeed may take its time.
            settings = f"{tls}\ntimeouts = {{ connect = '{20 if is_right else 3}s' }}"
            async with source(tmp_path, monkeypatch, "mongodb", server.url, settings) as opened:
                if is_right:
                    assert await opened.documents("c", {}, limit=1, order=[("_id", 1)]) == []
                    continue
                with pytest.raises(SourceUnavailable, match=r"certificate"):
                    await opened.documents("c", {}, limit=1, order=[("_id", 1)])
    async with WireDouble().running() as plain:
        async with source(tmp_path, monkeypatch, "mongodb", plain.url, "{ }\ntimeouts = { connect = '1s' }") as opened:
            with pytest.raises(SourceUnavailable):
                await opened.documents("c", {}, limit=1, order=[("_id", 1)])
    gc.collect()
