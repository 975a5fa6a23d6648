"""Constructs the account services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from homeserver.boot.identity import build_providers
from homeserver.boot.mail import address_post, address_settings
from homeserver.config.auth import Auth
from homeserver.config.keyfiles import UnsafeFile, read_private
from homeserver.config.model import Config
from homeserver.ports.appservices import Makers
from homeserver.ports.clock import Clock, Entropy
from homeserver.ports.identity import LoginProvider
from homeserver.ports.outbound import OutboundSource
from homeserver.ports.ratelimits import RateLimits
from homeserver.ports.rooms_of_users import RoomActions
from homeserver.ports.store import Store
from homeserver.services.accounts.account import Account
from homeserver.services.accounts.address_checks import EmailStage
from homeserver.services.accounts.addresses import Addresses
from homeserver.services.accounts.admin import Admin, SharedSecretRegistration
from homeserver.services.accounts.container import AccountServices
from homeserver.services.accounts.credentials import Credentials
from homeserver.services.accounts.devices import Devices
from homeserver.services.accounts.interactive import Interactive, InteractiveSettings
from homeserver.services.accounts.jwt_login import JwtIssuer, JwtLogin
from homeserver.services.accounts.login import Login, LoginSettings
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.accounts.profile import ProfileLimits, Profiles
from homeserver.services.accounts.providers import Providers
from homeserver.services.accounts.register import Mode, Register, RegistrationSettings
from homeserver.services.accounts.sessions import Sessions, SessionSettings
from homeserver.services.accounts.stages import DummyStage, PasswordStage, RegistrationTokenStage, TermsStage
from homeserver.services.accounts.tokens import AccessTokens, load_keys
from homeserver.services.appservices.registry import Registry
from homeserver.services.audit import Audit
from homeserver.services.commit import Committer
from homeserver.services.duties import Duties, Duty
from homeserver.services.personal.account_data import AccountData
from homeserver.services.personal.filters import Filters
from homeserver.services.personal.quota import AccountDataQuota

_JWT_KEYS: dict[str, type[Any]] = {
    "EdDSA": Ed25519PublicKey,
    "ES256": EllipticCurvePublicKey,
    "RS256": RSAPublicKey,
}
_DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Foundations:
    """What every service stands on."""

    config: Config
    store: Store
    committer: Committer
    limits: RateLimits
    clock: Clock
    entropy: Entropy
    appservices: Registry
    duties: Duties[Any]
    duty: Duty
    """To tell push gateways, mail addresses and application services."""


def build_sessions(base: Foundations, jwt_keys: bytes) -> Sessions:
    """Sessions and access tokens. Raises BadKeyFile."""
    auth = base.config.auth
    tokens = AccessTokens(load_keys(jwt_keys), base.config.server.name, base.entropy)
    settings = SessionSettings(
        access_token_lifetime_ms=auth.access_token_seconds * 1000,
        refresh_token_lifetime_ms=auth.refresh_token_days * _DAY_MS,
        max_devices=base.config.limits.devices_per_user,
    )
    return Sessions(base.store, base.committer, base.clock, base.entropy, tokens, settings)


def build_accounts(
    base: Foundations,
    sessions: Sessions,
    rooms: RoomActions,
    makers: Makers,
    audit: Audit,
    passwords: Passwords,
    outbound: OutboundSource,
    link_key: bytes,
) -> AccountServices:
    """Everything behind the account endpoints. Raises ValueError for unusable JWT login settings."""
    config, store, clock, entropy = base.config, base.store, base.clock, base.entropy
    name, auth, limits = config.server.name, config.auth, config.limits
    lengths = ProfileLimits(limits.displayname_length, limits.avatar_url_length, limits.profile_fields)
    profiles = Profiles(store, rooms, name, lengths, makers)
    providers = _providers(base, profiles, sessions, build_providers(config, passwords.run, outbound))
    credentials = Credentials(store, passwords, base.limits, name, providers)
    token_stage = RegistrationTokenStage(store, clock)
    policies = _policies(config)
    stages = (DummyStage(), PasswordStage(credentials), token_stage, TermsStage(policies), EmailStage(store, clock))
    interactive = Interactive(
        store, clock, entropy, stages, InteractiveSettings(lifetime_ms=auth.interactive_session_seconds * 1000)
    )
    addresses = Addresses(
        store, clock, entropy, base.limits, interactive, address_post(config, link_key), address_settings(config)
    )
    by_mail, appservices = addresses.offered, base.appservices
    register = Register(
        store,
        base.committer,
        clock,
        entropy,
        passwords,
        sessions,
        interactive,
        appservices,
        _registration(config, policies, by_mail),
    )
    jwt = JwtLogin(store, clock, _issuer(auth, Path(config.server.data_dir)), name) if auth.jwt_login else None
    settings = LoginSettings(name, login_token_lifetime_ms=auth.login_token_seconds * 1000, by_mail=by_mail)
    return AccountServices(
        account=Account(store, base.committer, passwords, sessions, interactive, rooms, providers, by_mail=by_mail),
        account_data=AccountData(
            store, base.committer, max_bytes=limits.account_data_bytes, quota=account_data_quota(config)
        ),
        addresses=addresses,
        admin=Admin(store, base.committer, sessions, audit, name),
        devices=Devices(store, base.committer, clock, sessions, interactive, max_devices=limits.devices_per_user),
        filters=_filters(base),
        interactive=interactive,
        login=Login(store, clock, entropy, credentials, sessions, appservices, jwt, settings, providers),
        profiles=profiles,
        providers=providers,
        register=register,
        registration_tokens=token_stage,
        sessions=sessions,
        shared_secret=SharedSecretRegistration(config.registration.shared_secret or None, register, clock, entropy),
    )


def _registration(config: Config, policies: dict[str, Any], by_mail: bool) -> RegistrationSettings:
    """Who may register."""
    name, registration = config.server.name, config.registration
    return RegistrationSettings(
        name, Mode(registration.mode), registration.guests, registration.first_user, policies, by_mail
    )


def _filters(base: Foundations) -> Filters:
    """Stored filters, within their bounds."""
    limits = base.config.limits
    return Filters(
        base.store,
        max_bytes=limits.filter_bytes,
        max_per_user=limits.filters_per_user,
        max_total=limits.filters_total_bytes,
    )


def _providers(
    base: Foundations, profiles: Profiles, sessions: Sessions, providers: Sequence[LoginProvider]
) -> Providers | None:
    """What lets people of other sites in, if there are any."""
    if not providers:
        return None
    name = base.config.server.name
    return Providers(base.store, base.clock, base.appservices, profiles, sessions, providers, name)


def account_data_quota(config: Config) -> AccountDataQuota:
    """What one user may keep."""
    return AccountDataQuota(config.limits.account_data_items, config.limits.account_data_total_bytes)


def _policies(config: Config) -> dict[str, Any]:
    """The terms as `m.login.terms` shows them.  spec: client-server-api#terms-of-service-at-registration"""
    registration = config.registration
    if not registration.require_terms:
        return {}
    document = {"name": "Terms of service", "url": registration.terms_url}
    return {"terms_of_service": {"version": registration.terms_version, "en": document}}


def _issuer(auth: Auth, data_dir: Path) -> JwtIssuer:
    """The issuer of JWT logins. Raises UnsafeFile for a key that is missing or of another algorithm."""
    if auth.jwt_algorithm == "HS256":
        secret = (
            read_private(data_dir / auth.jwt_secret_file, "auth.jwt_secret_file").decode("utf-8", "replace").strip()
        )
        return _checked(auth, secret)
    path = data_dir / auth.jwt_public_key_file
    try:
        key = path.read_text()
        kind = load_pem_public_key(key.encode())
    except OSError as error:
        raise UnsafeFile(f"auth.jwt_public_key_file: {path}: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnsafeFile(f"auth.jwt_public_key_file: {path} is not a public key in PEM form") from None
    if not isinstance(kind, _JWT_KEYS[auth.jwt_algorithm]):
        raise UnsafeFile(f"auth.jwt_public_key_file: {path} is not a key for {auth.jwt_algorithm}")
    return _checked(auth, key)


def _checked(auth: Auth, key: str) -> JwtIssuer:
    """The issuer with its key. Raises UnsafeFile for a secret that can be guessed."""
    try:
        return JwtIssuer(
            auth.jwt_issuer,
            auth.jwt_audience or None,
            auth.jwt_algorithm,
            key,
            auth.jwt_subject_claim,
            auth.jwt_create_users,
        )
    except ValueError as error:
        raise UnsafeFile(f"auth.jwt_secret_file: {error}") from None
