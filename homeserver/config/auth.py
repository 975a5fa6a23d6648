"""The settings of logins: tokens, passwords, and the login providers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from homeserver.config.base import Section
from homeserver.config.base import doc as _doc


class LoginProvider(Section, frozen=True, kw_only=True):
    """A users table, or a service that judges logins."""

    name: Annotated[str, _doc("What accounts remember it by, of `a-z`, `0-9` and `_`. It can never change.")]
    type: Annotated[
        Literal["postgresql", "mysql", "mongodb", "rest"], _doc("The database, or `rest` for a service over HTTP.")
    ]
    title: Annotated[str, _doc("What people call the site. Empty: the name.")] = ""
    url: Annotated[str, _doc("`TYPE://USER:PASSWORD@HOST/DATABASE`, or the URL of the service.")] = ""
    url_file: Annotated[str, _doc("A file with the URL, instead of `url`. Only its owner may read it.")] = ""
    url_env: Annotated[str, _doc("An environment variable with the URL, instead of `url`.")] = ""
    tls: Annotated[
        Literal["auto", "on", "off"],
        _doc("Encryption to the database, with its certificate checked. `auto`: unless it is on this machine."),
    ] = "auto"
    tls_ca: Annotated[str, _doc("File with the certificates that its certificate is checked with.")] = ""
    timeout_seconds: Annotated[int, _doc("Longest wait for an answer; then the login is refused.", ge=1, le=60)] = 5
    pool_size: Annotated[int, _doc("Connections to the database.", ge=1, le=50)] = 3
    table: Annotated[str, _doc("The users table, as `TABLE` or `SCHEMA.TABLE`; for MongoDB the collection.")] = ""
    key: Annotated[str, _doc("Its primary key: one column.")] = "id"
    login: Annotated[tuple[str, ...], _doc("Columns that people may log in with, such as name and e-mail.")] = ()
    password: Annotated[str, _doc("The column with the stored password.")] = "password"
    schemes: Annotated[tuple[str, ...], _doc("How passwords are stored (docs/bridges/login.md).")] = ()
    localpart: Annotated[
        str, _doc("Template of user ids: `{{ COLUMN | mxlocalpart }}`. Empty: of the first login column.")
    ] = ""
    displayname: Annotated[str, _doc("The column with the name to show. Empty: none.")] = ""
    email: Annotated[str, _doc("The column with the e-mail address. Empty: none.")] = ""
    enabled: Annotated[
        dict[str, Any] | None,
        _doc("Condition of who may log in: `{ col = …, op = …, value = … }`. Empty: everybody."),
    ] = None
    provision: Annotated[
        Literal["on_login", "all"], _doc("When accounts are made: as people come, or for everybody at once.")
    ] = "on_login"
    directory: Annotated[
        bool, _doc("Everybody with an account here finds its people in the user directory, not only by common rooms.")
    ] = False
    sync_seconds: Annotated[
        int, _doc("How often it is looked who was disabled or renamed; 0: never.", ge=0, le=86_400)
    ] = 60
    password_url: Annotated[str, _doc("Where people change their passwords, for messages.")] = ""


class Auth(Section, frozen=True, kw_only=True):
    """Logins and tokens."""

    access_token_seconds: Annotated[int, _doc("Life of an access token that can be refreshed.", ge=60, le=86_400)] = 900
    refresh_token_days: Annotated[int, _doc("A refresh token unused for so long expires.", ge=1, le=3650)] = 365
    query_tokens: Annotated[bool, _doc("Accept `?access_token=`. It ends up in the logs of proxies.")] = False
    password_min_length: Annotated[int, _doc("Shortest password, in characters.", ge=1, le=128)] = 8
    password_max_length: Annotated[int, _doc("Longest password, in characters.", ge=64, le=4096)] = 512
    jwt_login: Annotated[bool, _doc("Accept `org.matrix.login.jwt`.")] = False
    jwt_issuer: Annotated[str, _doc("Required `iss` of such tokens.")] = ""
    jwt_audience: Annotated[str, _doc("Required `aud` of such tokens. Empty: not checked.")] = ""
    jwt_public_key_file: Annotated[str, _doc("PEM file with the issuer's public key.")] = ""
    jwt_secret_file: Annotated[
        str, _doc("File with the secret that the issuer shares with this server, for HS256: at least 32 characters.")
    ] = ""
    jwt_algorithm: Annotated[Literal["EdDSA", "ES256", "RS256", "HS256"], _doc("The one algorithm of such tokens.")] = (
        "EdDSA"
    )
    jwt_subject_claim: Annotated[str, _doc("The claim with the localpart of the user id.")] = "sub"
    jwt_create_users: Annotated[bool, _doc("Make accounts for people who come with such a token first.")] = False
    providers: Annotated[
        tuple[LoginProvider, ...],
        _doc(
            "Users tables of sites, whose people log in with what they have there (docs/bridges/login.md). One "
            "`[[auth.providers]]` each, asked in this order. The variable takes JSON."
        ),
    ] = ()
    login_token_seconds: Annotated[int, _doc("Life of an `m.login.token`; 0: none are made.", ge=0, le=600)] = 120
    interactive_session_seconds: Annotated[
        int, _doc("A user-interactive authentication must end within this.", ge=60, le=86_400)
    ] = 900
