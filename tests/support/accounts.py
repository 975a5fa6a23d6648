"""The account services and their endpoints on a real store, with time in the test's hands."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from client_api.accounts_routes import ROUTES_ACCOUNTS
from client_api.deps import ClientServices, PublicInfo
from client_api.personal_routes import PERSONAL_ROUTES
from homeserver.ports.mail import Letter, Mailer
from homeserver.ports.ratelimits import Rate
from homeserver.services.accounts import stages
from homeserver.services.accounts.account import Account
from homeserver.services.accounts.address_checks import AddressLinks, EmailStage
from homeserver.services.accounts.address_letters import AddressLetters
from homeserver.services.accounts.addresses import Addresses, AddressPost, AddressSettings
from homeserver.services.accounts.admin import Admin, SharedSecretRegistration
from homeserver.services.accounts.appservices import NoAppServices
from homeserver.services.accounts.container import AccountServices
from homeserver.services.accounts.credentials import Credentials
from homeserver.services.accounts.devices import Devices
from homeserver.services.accounts.interactive import Interactive, InteractiveSettings, Stage
from homeserver.services.accounts.jwt_login import JwtIssuer, JwtLogin
from homeserver.services.accounts.letterbox import Letterbox
from homeserver.services.accounts.login import Login, LoginSettings
from homeserver.services.accounts.passwords import Passwords, PasswordSettings
from homeserver.services.accounts.profile import Profiles
from homeserver.services.accounts.register import Mode, Register, RegistrationSettings
from homeserver.services.accounts.sessions import Sessions, SessionSettings
from homeserver.services.accounts.tokens import AccessTokens, SigningKey, new_key
from homeserver.services.audit import Audit
from homeserver.services.commit import Committer
from homeserver.services.log import Log
from homeserver.services.personal.account_data import AccountData
from homeserver.services.personal.container import PersonalServices
from homeserver.services.personal.filters import Filters
from homeserver.storage.unit import Database
from homeserver.web.app import Application, WebSettings
from homeserver.web.endpoint import Mount
from homeserver.web.metrics import Metrics
from homeserver.web.ratelimit import RateLimiter
from tests.support.asgi import Answer, AsgiClient
from tests.support.personal import personal_services
from tests.support.store import SERVER_NAME

V3 = "/_matrix/client/v3"
PASSWORD = "correct horse"
SECRET = "a shared secret of the operator"


class TestClock:
    """Time that moves when told."""

    __test__ = False

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


class TestEntropy:
    """Real randomness."""

    __test__ = False

    def token(self, n_bytes: int) -> str:
        return secrets.token_urlsafe(n_bytes)

    def letters(self, length: int) -> str:
        return "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(length))


class RecordingRooms:
    """Rooms that write down what they were asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def leave_all(self, user_id: str) -> None:
        self.calls.append(("leave_all", user_id))

    async def profile_changed(self, user_id: str) -> None:
        self.calls.append(("profile", user_id))


@dataclass
class Options:
    """How the server of a test is set up."""

    mode: Mode = Mode.OPEN
    guests: bool = False
    policies: dict[str, Any] = field(default_factory=dict)
    first_user_admin: bool = True
    login_tokens_ms: int = 0
    jwt: JwtIssuer | None = None
    max_devices: int = 100
    limits: bool = False
    query_tokens: bool = False
    wrong_passwords: int = 5
    keys: list[SigningKey] | None = None
    letters: list[Letter] | None = None
    """Where letters go; None: the server writes none."""


@dataclass(frozen=True)
class WithoutRooms:
    """The part of `ClientServices` that the endpoints of accounts and personal data use."""

    info: PublicInfo
    accounts: AccountServices
    personal: PersonalServices


class Home:
    """A server's accounts, wired as in production."""

    # long: the wiring of one server, top to bottom
    def __init__(self, store: Database, options: Options | None = None) -> None:
        options = options or Options()
        self.store = store
        self.clock = TestClock()
        self.rooms = RecordingRooms()
        entropy = TestEntropy()
        rate = Rate(0.1, 5)
        names = (
            "registration",
            "registration_token_validity",
            "login_address",
            "login_account",
            "login_failed",
            "login_anywhere",
            "login_token",
            "refresh",
            "username_availability",
            "typing",
            "receipts",
            "profile",
            "presence",
            "pushers",
            "reports",
            "user_directory",
            "search",
            "address_checks",
            "address_letters",
            "password",
        )
        limits = RateLimiter(
            {**dict.fromkeys(names, rate), "login_anywhere": Rate(0.1, options.wrong_passwords)},
            self.clock,
            enabled=options.limits,
        )
        self.log = Log(0)
        self.committer = Committer(store, self.log)
        self.passwords = Passwords(PasswordSettings(time_cost=1, memory_kib=64), entropy)
        self.tokens = AccessTokens(options.keys or [new_key(entropy)], SERVER_NAME, entropy)
        settings = SessionSettings(max_devices=options.max_devices)
        self.sessions = Sessions(store, self.committer, self.clock, entropy, self.tokens, settings)
        credentials = Credentials(store, self.passwords, limits, SERVER_NAME)
        token_stage = stages.RegistrationTokenStage(store, self.clock)
        every_stage: list[Stage] = [
            stages.DummyStage(),
            stages.PasswordStage(credentials),
            token_stage,
            stages.TermsStage(options.policies),
            EmailStage(store, self.clock),
        ]
        interactive = Interactive(store, self.clock, entropy, every_stage, InteractiveSettings())
        appservices, by_mail = NoAppServices(), options.letters is not None
        register = Register(
            store,
            self.committer,
            self.clock,
            entropy,
            self.passwords,
            self.sessions,
            interactive,
            appservices,
            RegistrationSettings(
                SERVER_NAME, options.mode, options.guests, options.first_user_admin, options.policies, by_mail
            ),
        )
        post = None if options.letters is None else address_post(options.letters)
        jwt = None if options.jwt is None else JwtLogin(store, self.clock, options.jwt, SERVER_NAME)
        self.api = AccountServices(
            account=Account(
                store, self.committer, self.passwords, self.sessions, interactive, self.rooms, by_mail=by_mail
            ),
            account_data=AccountData(store, self.committer),
            addresses=Addresses(store, self.clock, entropy, limits, interactive, post, AddressSettings(per_user=3)),
            admin=Admin(store, self.committer, self.sessions, Audit(store, self.clock), SERVER_NAME),
            devices=Devices(store, self.committer, self.clock, self.sessions, interactive),
            filters=Filters(store),
            interactive=interactive,
            login=Login(
                store,
                self.clock,
                entropy,
                credentials,
                self.sessions,
                appservices,
                jwt,
                LoginSettings(SERVER_NAME, login_token_lifetime_ms=options.login_tokens_ms, by_mail=by_mail),
            ),
            profiles=Profiles(store, self.rooms, SERVER_NAME),
            register=register,
            registration_tokens=token_stage,
            sessions=self.sessions,
            shared_secret=SharedSecretRegistration(SECRET, register, self.clock, entropy),
        )
        self.personal = personal_services(store, self.log, self.committer, self.clock)
        info = PublicInfo(SERVER_NAME, "https://matrix.hromada.test", can_change_3pids=by_mail)
        services = cast(ClientServices, WithoutRooms(info, self.api, self.personal))
        self.app = Application(
            [Mount(services, [*ROUTES_ACCOUNTS, *PERSONAL_ROUTES])],
            settings=WebSettings(query_tokens=options.query_tokens),
            authenticator=self.sessions,
            limits=limits,
            metrics=Metrics(),
            clock=self.clock,
        )

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, peer: str = "127.0.0.1"
    ) -> Answer:
        """One request; `path` is taken under /_matrix/client/v3 unless it is complete."""
        target = path if path.startswith("/_") else V3 + path
        if body is None and method in {"POST", "PUT"}:
            body = {}
        return await AsgiClient(self.app, token=token, peer=peer).request(method, target, json=body)

    async def ok(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Any:
        """The JSON of a request that must succeed."""
        answer = await self.call(method, path, body, token=token)
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json

    async def register(self, name: str, **more: Any) -> dict[str, Any]:
        """Register with the dummy stage; the answer."""
        body = {"username": name, "password": PASSWORD, **more}
        challenge = await self.call("POST", "/register", body)
        assert challenge.status == 401, challenge.body
        auth = {"type": "m.login.dummy", "session": challenge.json["session"]}
        answer: dict[str, Any] = await self.ok("POST", "/register", {**body, "auth": auth})
        return answer

    async def login(self, name: str, password: str = PASSWORD, **more: Any) -> Answer:
        """Log in with a password."""
        identifier = {"type": "m.id.user", "user": name}
        body = {"type": "m.login.password", "identifier": identifier, "password": password, **more}
        return await self.call("POST", "/login", body)

    async def with_password(
        self, method: str, path: str, body: dict[str, Any], *, token: str, user: str, password: str = PASSWORD
    ) -> Answer:
        """A request that needs the password."""
        challenge = await self.call(method, path, body, token=token)
        assert challenge.status == 401, challenge.body
        auth = password_auth(user, challenge.json["session"], password)
        return await self.call(method, path, {**body, "auth": auth}, token=token)


class KeptLetters(Mailer):
    """A mail server that takes everything."""

    def __init__(self, letters: list[Letter]) -> None:
        self._letters = letters

    async def send(self, letter: Letter) -> None:
        self._letters.append(letter)


class PromptLetterbox(Letterbox):
    """Sends letters before the answer, so that a test need not wait for them."""

    def __init__(self, letters: list[Letter]) -> None:
        super().__init__(lambda: KeptLetters(letters))
        self._kept = letters

    def put(self, write: Callable[[], Letter]) -> None:
        self._kept.append(write())


def address_post(letters: list[Letter]) -> AddressPost:
    """What writes letters into a list."""
    links = AddressLinks(b"a key for links", "https://matrix.hromada.test")
    return AddressPost(AddressLetters(SERVER_NAME), links, PromptLetterbox(letters))


def password_auth(user: str, session: str | None, password: str = PASSWORD) -> dict[str, Any]:
    """The `auth` of the password stage."""
    auth = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user}, "password": password}
    return auth if session is None else {**auth, "session": session}


@asynccontextmanager
async def running(home: Home) -> AsyncIterator[Home]:
    """The home with its committer at work."""
    task = asyncio.create_task(home.committer.run())
    try:
        yield home
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        home.passwords.close()
