"""A bridge needs the packages of what it does, and no others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bridges.support import Bridge
from tests.support.server import ROOT

CONFIG = """
[appservice]
id = "db"
homeserver = "http://127.0.0.1:1"
server_name = "hromada.test"
listen = "127.0.0.1:29400"
as_token = {{ file = "{folder}/as_token" }}
hs_token = {{ file = "{folder}/hs_token" }}
state = "{state}"

[source.shop]
driver = "postgresql"
url = {{ file = "{folder}/url" }}

[mapping.items]
source = "shop"
table = "items"
key = ["id"]
columns = ["id"]
capture = {{ mode = "overlap", cursor = "at", overlap = "10s" }}
room = {{ alias = "_db_items_{{{{ id }}}}" }}

[hook.shop]
style = "github"
secret = {{ file = "{folder}/hs_token" }}
text = "hi"
"""
WITHOUT = ("bcrypt", "passlib", "libpass", "psycopg", "pymongo", "pymysql", "aiomysql", "pymysqlreplication")
SCRIPT = """
import sys
sys.modules |= dict.fromkeys({without}, None)  # what import takes for a module that is not there
from homeserver.cli import main
sys.exit(main())
"""


def run(file: Path, action: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT.format(without=WITHOUT), "bridges", action, str(file)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)


def test_without_users_and_other_databases(tmp_path: Path) -> None:
    file = Bridge(tmp_path).file
    (tmp_path / "url").write_text("postgresql://nobody@127.0.0.1:1/none")
    file.write_text(CONFIG.format(folder=tmp_path, state="state.db"))
    done = run(file, "check")  # connects to what it has: nothing is there
    assert done.stdout.count("FAIL") == 2, done
    assert "Traceback" not in done.stderr
    file.write_text(CONFIG.format(folder=tmp_path, state="postgresql://127.0.0.1:1/none"))
    done = run(file, "status")
    assert done.returncode == 2
    assert "pip install 'hromada[bridges-postgres]'" in done.stderr
