"""Every setting of the server: its section, type, default, bounds and one line of documentation.

The loader, the environment names and the configuration page all come from these classes. Reads no file and checks
nothing that needs one (see `load` and `secrets`).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from homeserver.config.auth import Auth
from homeserver.config.base import Section
from homeserver.config.base import doc as _doc
from homeserver.config.media import AtRest, Media, Previews
from homeserver.core.versions import DEFAULT_ROOM_VERSION, ROOM_VERSIONS
from homeserver.ports.ratelimits import Rate


class Server(Section, frozen=True, kw_only=True):
    """Who the server is and where it listens."""

    name: Annotated[str, _doc("The domain in user ids (`@alice:NAME`). It can never change.")] = "localhost"
    listen: Annotated[str, _doc("HOST:PORT to listen on; port 0 takes a free one.")] = "127.0.0.1:8008"
    public_baseurl: Annotated[
        str, _doc("The URL clients use, for well-known documents and links. Empty: made of the server name.")
    ] = ""
    data_dir: Annotated[str, _doc("Folder of the database, keys and media. Relative paths below start here.")] = "data"
    signing_key_file: Annotated[str, _doc("File with the server's signing key.")] = "signing.key"
    jwt_key_file: Annotated[str, _doc("File with the keys of access tokens.")] = "jwt.keys"
    trusted_proxies: Annotated[
        tuple[str, ...], _doc("Networks whose `X-Forwarded-For` is believed, such as `127.0.0.0/8`.")
    ] = ()
    support_email: Annotated[str, _doc("Address of the administrator, in the support document.")] = ""
    support_matrix_id: Annotated[str, _doc("Matrix id of the administrator, in the support document.")] = ""
    support_page: Annotated[str, _doc("URL of a help page, in the support document.")] = ""


class Database(Section, frozen=True, kw_only=True):
    """Where everything is kept."""

    url: Annotated[str, _doc("`postgresql://…` or `sqlite:///PATH`. Empty: `hromada.db` in the data folder.")] = ""
    pool_size: Annotated[int, _doc("Connections this process may open.", ge=1, le=200)] = 10
    wait_seconds: Annotated[
        int, _doc("Longest wait for a free connection and a lock together; then 503.", ge=1, le=60)
    ] = 5
    statement_timeout_seconds: Annotated[int, _doc("PostgreSQL cancels statements after this.", ge=1, le=3600)] = 60


class Redis(Section, frozen=True, kw_only=True):
    """The bell between several processes. One process needs none, and more are not built yet."""

    url: Annotated[str, _doc("`redis://HOST:PORT/DB`. Accepted, but not used yet.")] = ""


class Registration(Section, frozen=True, kw_only=True):
    """Who may make an account."""

    mode: Annotated[
        Literal["open", "token", "closed"], _doc("Anybody, holders of a registration token, or nobody.")
    ] = "closed"
    shared_secret: Annotated[
        str, _doc("Secret of `/_synapse/admin/v1/register`, at least 16 characters. Empty: not served.")
    ] = ""
    first_user: Annotated[
        bool,
        _doc(
            "The first account that registers becomes administrator, whatever the mode. Only while the server listens "
            "on a loopback address: `make run` asks for it. Otherwise: `hromada user add --admin NAME`."
        ),
    ] = False
    require_terms: Annotated[bool, _doc("New users accept the terms first.")] = False
    terms_url: Annotated[str, _doc("Where the terms can be read.")] = ""
    terms_version: Annotated[str, _doc("Version of the terms.")] = "1.0"
    guests: Annotated[bool, _doc("Whether guest accounts may be made.")] = False


class Limits(Section, frozen=True, kw_only=True):
    """Sizes and numbers nobody may exceed."""

    body_bytes: Annotated[int, _doc("Largest request body.", ge=65_536, le=104_857_600)] = 1_048_576
    body_seconds: Annotated[int, _doc("A request body must arrive within this.", ge=1, le=600)] = 60
    head_seconds: Annotated[int, _doc("A request's head must arrive within this.", ge=1, le=600)] = 10
    answer_seconds: Annotated[
        int, _doc("A client must take an answer within this, and 1 s more per 64 KiB of it.", ge=1, le=3600)
    ] = 60
    requests_in_flight: Annotated[int, _doc("Requests worked on at a time; more get 503.", ge=10, le=100_000)] = 2_000
    long_polls: Annotated[int, _doc("Long polls held at a time; more get 503.", ge=10, le=1_000_000)] = 20_000
    requests_per_user: Annotated[int, _doc("Requests of one user worked on at a time; more get 429.", ge=10)] = 100
    requests_per_address: Annotated[
        int, _doc("Requests from one address worked on at a time; more get 429.", ge=10)
    ] = 500
    long_polls_per_user: Annotated[int, _doc("Long polls of one user held at a time; more get 429.", ge=1)] = 100
    long_polls_per_address: Annotated[
        int, _doc("Long polls and sockets of one address held at a time; more get 429.", ge=10)
    ] = 5_000
    devices_per_user: Annotated[int, _doc("Devices of one user.", ge=1, le=10_000)] = 100
    displayname_length: Annotated[int, _doc("Longest display name, in characters.", ge=1, le=10_000)] = 256
    avatar_url_length: Annotated[int, _doc("Longest avatar URL, in characters.", ge=1, le=10_000)] = 1_000
    profile_fields: Annotated[int, _doc("Fields of one user's profile.", ge=2, le=10_000)] = 100
    account_data_bytes: Annotated[int, _doc("Largest account data item.", ge=1_024, le=1_048_576)] = 65_536
    account_data_items: Annotated[
        int, _doc("Account data items of one user, read markers and tags of rooms included.", ge=100, le=1_000_000)
    ] = 10_000
    account_data_total_bytes: Annotated[
        int, _doc("Account data of one user, together.", ge=65_536, le=1_073_741_824)
    ] = 10_485_760
    tags_per_room: Annotated[int, _doc("Tags one user may give a room.", ge=1, le=10_000)] = 100
    push_rules_per_user: Annotated[int, _doc("Push rules of one user's own.", ge=1, le=10_000)] = 1_000
    push_rules_bytes: Annotated[int, _doc("Push rules of one user, together.", ge=16_384, le=10_485_760)] = 262_144
    receipts_per_room: Annotated[
        int, _doc("Threaded receipts of one user kept in one room; the oldest make room.", ge=10, le=100_000)
    ] = 1_000
    filter_bytes: Annotated[int, _doc("Largest filter.", ge=1_024, le=1_048_576)] = 65_536
    filters_per_user: Annotated[int, _doc("Stored filters of one user.", ge=1, le=10_000)] = 100
    filters_total_bytes: Annotated[
        int, _doc("Bytes of all stored filters of one user.", ge=65_536, le=1_073_741_824)
    ] = 1_048_576
    aliases_per_user: Annotated[int, _doc("Aliases one user may make.", ge=1, le=10_000)] = 50
    transaction_days: Annotated[
        int, _doc("How long a repeated transaction id still gives the first answer, in days.", ge=1, le=365)
    ] = 14
    messages_page: Annotated[int, _doc("Most events of one page of `/messages`.", ge=10, le=10_000)] = 1_000
    notifications_page: Annotated[int, _doc("Most entries of one page of `/notifications`.", ge=10, le=1_000)] = 100
    search_page: Annotated[int, _doc("Most results of one page of `/search`.", ge=10, le=500)] = 50
    user_directory_results: Annotated[int, _doc("Most people of one search of the user directory.", ge=1, le=500)] = 50
    report_length: Annotated[int, _doc("Longest reason of a report, in characters.", ge=100, le=10_000)] = 2_000
    report_days: Annotated[int, _doc("How long reports are kept, in days.", ge=1, le=3650)] = 365
    admin_page: Annotated[int, _doc("Most entries of one page of the admin API.", ge=10, le=10_000)] = 1_000
    admin_rooms: Annotated[
        int, _doc("Rooms, the newest, that lists of the admin API look through.", ge=100, le=1_000_000)
    ] = 20_000
    admin_media: Annotated[
        int, _doc("Media of one user that lists of the admin API look through.", ge=100, le=1_000_000)
    ] = 100_000
    admin_acts_days: Annotated[
        int, _doc("How long what administrators did stays on record, in days.", ge=1, le=36_500)
    ] = 365
    admin_acts: Annotated[int, _doc("Most acts of administrators on record.", ge=100, le=10_000_000)] = 100_000
    hierarchy_page: Annotated[int, _doc("Most rooms of one page of `/hierarchy`.", ge=1, le=1_000)] = 50
    hierarchy_walk: Annotated[int, _doc("Rooms of one space beyond which nobody walks.", ge=10, le=100_000)] = 2_000
    context_events: Annotated[int, _doc("Most events around one of `/context`.", ge=1, le=1_000)] = 100


class RateLimits(Section, frozen=True, kw_only=True):
    """How often one caller may do something: `per_second/burst`."""

    enabled: Annotated[bool, _doc("Off only for tests and benchmarks.")] = True
    message: Annotated[Rate, _doc("Events sent, by user.")] = Rate(1, 20)
    registration: Annotated[Rate, _doc("Requests to register, by address; an account takes two.")] = Rate(0.34, 6)
    registration_token_validity: Annotated[Rate, _doc("Registration tokens tried, by address.")] = Rate(0.1, 5)
    login_address: Annotated[Rate, _doc("Logins and passwords shown to prove who asks, by address.")] = Rate(0.05, 20)
    login_account: Annotated[Rate, _doc("Passwords tried, by account and address together.")] = Rate(0.003, 5)
    login_failed: Annotated[Rate, _doc("Wrong passwords, by account and address together.")] = Rate(0.17, 3)
    login_anywhere: Annotated[
        Rate, _doc("Wrong passwords by account, whatever the address: so many that no stranger locks its owner out.")
    ] = Rate(0.1, 500)
    login_token: Annotated[Rate, _doc("Login tokens asked for, by user.")] = Rate(0.01, 5)
    refresh: Annotated[Rate, _doc("Refreshed access tokens, by address.")] = Rate(5, 500)
    username_availability: Annotated[Rate, _doc("User names asked about, by address.")] = Rate(1, 30)
    public_rooms: Annotated[Rate, _doc("Pages of the room directory, by user, or by address without a login.")] = Rate(
        2, 60
    )
    typing: Annotated[Rate, _doc("Typing notifications, by user.")] = Rate(2, 60)
    receipts: Annotated[Rate, _doc("Read receipts and markers, by user.")] = Rate(5, 300)
    joins: Annotated[Rate, _doc("Joins of rooms of this server, by user.")] = Rate(0.1, 10)
    joins_room: Annotated[Rate, _doc("Joins by room; refused ones do not count.")] = Rate(1, 10)
    invites_room: Annotated[Rate, _doc("Invites by room; refused ones do not count.")] = Rate(0.3, 10)
    invites_user: Annotated[Rate, _doc("Invites by invited user; refused ones do not count.")] = Rate(0.003, 5)
    invites_issuer: Annotated[Rate, _doc("Invites by inviting user.")] = Rate(0.3, 10)
    create_room: Annotated[Rate, _doc("Rooms made, by user.")] = Rate(0.016, 10)
    profile: Annotated[Rate, _doc("Profile changes, by user; each is an event in all of their rooms.")] = Rate(0.05, 20)
    reports: Annotated[Rate, _doc("Reports of events, rooms and users, by user.")] = Rate(1, 5)
    user_directory: Annotated[Rate, _doc("Searches of the user directory, by user.")] = Rate(0.016, 200)
    search: Annotated[Rate, _doc("Searches of messages, by user.")] = Rate(1, 30)
    presence: Annotated[Rate, _doc("Presence changes, by user.")] = Rate(0.1, 1)
    keys: Annotated[Rate, _doc("Keys uploaded, asked for and claimed, by user.")] = Rate(10, 500)
    pushers: Annotated[Rate, _doc("Pushers set, by user.")] = Rate(1, 100)
    mail_confirmations: Annotated[Rate, _doc("E-mail addresses asked whether they want letters, by user.")] = Rate(
        0.001, 5
    )
    address_checks: Annotated[
        Rate, _doc("Letters to people's own addresses asked for, by user, or by address without one.")
    ] = Rate(0.01, 10)
    address_letters: Annotated[Rate, _doc("The same, by the e-mail address that they go to.")] = Rate(0.003, 5)
    password: Annotated[Rate, _doc("Requests to change a password, by user, or by address where it is lost.")] = Rate(
        1, 60
    )
    to_device: Annotated[Rate, _doc("Requests that send messages to devices, by user.")] = Rate(10, 500)
    media_preview: Annotated[Rate, _doc("URL previews, by user.")] = Rate(1, 30)
    media_create: Annotated[Rate, _doc("Media ids made for later uploads, by user.")] = Rate(10, 50)
    media_upload: Annotated[Rate, _doc("Uploads, by user.")] = Rate(5, 100)
    media_download: Annotated[Rate, _doc("Downloads and thumbnails, by user, or by address without one.")] = Rate(
        50, 1_000
    )
    support_visitors_address: Annotated[Rate, _doc("New visitors of support chats, by address.")] = Rate(0.0014, 5)
    support_visitors_site: Annotated[Rate, _doc("New visitors of a support chat, by site.")] = Rate(0.5, 30)
    support_cases: Annotated[Rate, _doc("Conversations begun in support chats, by address.")] = Rate(0.00014, 6)
    support_sessions: Annotated[Rate, _doc("Sessions of visitors resumed and frames shown, by address.")] = Rate(2, 60)
    support_requests: Annotated[Rate, _doc("Requests of a visitor, whatever they ask.")] = Rate(10, 200)
    support_messages: Annotated[Rate, _doc("Messages of a visitor.")] = Rate(0.17, 20)
    support_messages_site: Annotated[Rate, _doc("Messages of all visitors of a support chat, by site.")] = Rate(
        20, 1_000
    )
    support_uploads: Annotated[Rate, _doc("Files of a visitor.")] = Rate(0.00024, 20)
    support_context: Annotated[Rate, _doc("Answers that a visitor's page has changed.")] = Rate(0.05, 10)
    support_exports: Annotated[Rate, _doc("Transcripts and erasures asked for by a visitor.")] = Rate(0.01, 5)


class Rooms(Section, frozen=True, kw_only=True):
    """Defaults of new rooms."""

    default_version: Annotated[Literal[tuple(ROOM_VERSIONS)], _doc("Room version of new rooms.")] = (  # type: ignore[valid-type]
        DEFAULT_ROOM_VERSION.id
    )
    encrypt_by_default: Annotated[
        Literal["off", "private", "all"],
        _doc(
            "New rooms that are end-to-end encrypted whatever the client asks: none, private ones, or all but spaces."
        ),
    ] = "off"
    cache_bytes: Annotated[
        int, _doc("Memory for events, and as much again for the state of rooms.", ge=1_048_576, le=17_179_869_184)
    ] = 33_554_432


class Encryption(Section, frozen=True, kw_only=True):
    """End-to-end encryption: what the server keeps for devices."""

    one_time_keys_per_device: Annotated[
        int, _doc("One-time keys of one device that nobody has claimed.", ge=50, le=100_000)
    ] = 1_000
    to_device_queue: Annotated[
        int, _doc("Messages that wait for one device; further ones are lost.", ge=100, le=10_000_000)
    ] = 100_000
    to_device_per_request: Annotated[
        int, _doc("Devices that one request may send messages to.", ge=100, le=1_000_000)
    ] = 10_000
    to_device_bytes: Annotated[int, _doc("Largest message to a device.", ge=4_096, le=1_048_576)] = 65_536
    backups_per_user: Annotated[int, _doc("Key backups of one user.", ge=1, le=10_000)] = 100
    backup_keys_per_user: Annotated[int, _doc("Keys in all key backups of one user.", ge=1_000, le=10_000_000)] = (
        500_000
    )
    backup_bytes_per_user: Annotated[
        int, _doc("Bytes of keys in all key backups of one user.", ge=1_048_576, le=1_099_511_627_776)
    ] = 536_870_912
    backup_key_bytes: Annotated[
        int, _doc("Largest key in a backup, and largest `auth_data` of a backup.", ge=1_024, le=1_048_576)
    ] = 16_384
    visitor_backup_keys: Annotated[
        int, _doc("Keys in all key backups of a visitor of a support chat, 2 KiB each on average.", ge=100, le=100_000)
    ] = 5_000
    show_device_names: Annotated[
        bool, _doc("Whether everybody sees the names of everybody's devices, beside their keys.")
    ] = True


class Push(Section, frozen=True, kw_only=True):
    """Telling devices of messages while no client is open: pushers and their gateways."""

    badge: Annotated[
        Literal["messages", "rooms"], _doc("What an application's icon counts: unread messages, or rooms with any.")
    ] = "messages"
    web: Annotated[
        bool,
        _doc(
            "Tell browsers of messages while no page of the web client is open, where their users ask for it (Web "
            "Push). It goes, encrypted, through the push service of the browser's maker."
        ),
    ] = True
    pushers_per_user: Annotated[int, _doc("Pushers of one user.", ge=1, le=10_000)] = 100
    data_bytes: Annotated[int, _doc("Largest `data` of a pusher.", ge=1_024, le=65_536)] = 8_192
    insecure_gateways: Annotated[
        bool, _doc("Accept gateways at `http://`. One in your own network needs `outbound.allow` too.")
    ] = False
    outage_seconds: Annotated[
        int, _doc("A gateway that was away for longer is told the number of unread messages only.", ge=1, le=86_400)
    ] = 300
    waiting: Annotated[int, _doc("Newest events kept for one pusher while its gateway is away.", ge=1, le=1_000)] = 50


class Mail(Section, frozen=True, kw_only=True):
    """Letters about unread messages, to e-mail addresses that have agreed (docs/subsystems/push.md), and to the
    addresses of accounts, such as when a password is lost (docs/subsystems/accounts.md)."""

    host: Annotated[str, _doc("The mail server that takes letters (SMTP). Empty: none are written.")] = ""
    port: Annotated[int, _doc("Its port.", ge=1, le=65_535)] = 587
    security: Annotated[
        Literal["starttls", "tls", "none"], _doc("How the connection is encrypted; `none` for this machine only.")
    ] = "starttls"
    username: Annotated[str, _doc("Name for the mail server. Empty: no login.")] = ""
    password: Annotated[str, _doc("Password for the mail server.")] = ""
    sender: Annotated[str, _doc("Address that letters come from, such as `matrix@example.org`.")] = ""
    sender_name: Annotated[str, _doc("Name beside that address.")] = "Matrix"
    timeout_seconds: Annotated[int, _doc("Longest silence of the mail server.", ge=1, le=300)] = 30
    at_once: Annotated[int, _doc("Letters sent at a time.", ge=1, le=100)] = 4
    quiet_seconds: Annotated[
        int,
        _doc(
            "A letter goes when nothing has come for so long, or for six times as long; the next ones to somebody who "
            "does not read wait twice as long each time, a day at most.",
            ge=1,
            le=86_400,
        ),
    ] = 600
    pushers_per_user: Annotated[int, _doc("Addresses at which one user is told of messages.", ge=1, le=100)] = 5
    addresses_per_user: Annotated[int, _doc("Addresses of one account.", ge=1, le=100)] = 10
    link_hours: Annotated[
        int, _doc("How long the links in letters about addresses and lost passwords work.", ge=1, le=168)
    ] = 24
    show_text: Annotated[
        bool, _doc("Letters show what was said in rooms that are not encrypted. Off: only who wrote, where, how often.")
    ] = False


class Sync(Section, frozen=True, kw_only=True):
    """Long polling."""

    max_timeout_seconds: Annotated[
        int, _doc("Longest wait of one `/sync`; proxies give up on idle connections.", ge=1, le=600)
    ] = 180
    timeline_limit: Annotated[int, _doc("Events per room without a filter.", ge=1, le=100)] = 10
    max_timeline_limit: Annotated[int, _doc("Most events per room a filter may ask for.", ge=10, le=1_000)] = 100
    timeline_look_back: Annotated[
        int, _doc("Events per room among which those are looked for that a filter lets pass.", ge=10, le=10_000)
    ] = 1_000
    tail_bytes: Annotated[int, _doc("Newest part of the log kept in memory.", ge=1_048_576, le=4_294_967_296)] = (
        16_777_216
    )


class Stream(Section, frozen=True, kw_only=True):
    """The WebSocket (docs/websocket.md)."""

    frame_bytes: Annotated[int, _doc("Largest frame of a client.", ge=4_096, le=1_048_576)] = 65_536
    frames: Annotated[Rate, _doc("Frames of one socket, acknowledgements aside.")] = Rate(20, 60)
    sockets_per_user: Annotated[int, _doc("Open sockets of one user.", ge=1, le=10_000)] = 20
    sockets_per_guest: Annotated[int, _doc("Open sockets of a visitor of a support chat, or guest.", ge=1, le=100)] = 3
    unknown_per_address: Annotated[int, _doc("Sockets of one address that have not shown their token yet.", ge=1)] = 100
    requests_in_flight: Annotated[int, _doc("Calls of one socket worked on at a time.", ge=1, le=100)] = 8
    buffer_bytes: Annotated[
        int, _doc("Answers kept for a client of a socket that does not read.", ge=131_072, le=16_777_216)
    ] = 262_144
    auth_seconds: Annotated[int, _doc("The access token must come within this.", ge=1, le=60)] = 5
    send_seconds: Annotated[int, _doc("A client must take a frame within this.", ge=1, le=300)] = 10
    heartbeat_seconds: Annotated[int, _doc("A client sends something this often.", ge=1, le=600)] = 30
    origins: Annotated[tuple[str, ...], _doc("Origins of pages that may open sockets. Empty: all.")] = ()


class Support(Section, frozen=True, kw_only=True):
    """Support chats on other websites."""

    demo: Annotated[
        bool,
        _doc(
            "Serve a demo shop with a support chat, and an agent to answer it. Only while the server listens on a "
            "loopback address: `make run` asks for it."
        ),
    ] = False
    sites: Annotated[int, _doc("Most sites.", ge=1, le=10_000)] = 200
    message_bytes: Annotated[int, _doc("Longest message of a visitor.", ge=256, le=32_768)] = 8_192
    session_days: Annotated[
        int,
        _doc(
            "A browser that was not used for so long is forgotten; of anonymous visitors after 30 days.", ge=1, le=400
        ),
    ] = 180


class Search(Section, frozen=True, kw_only=True):
    """Full-text search over messages that are not end-to-end encrypted (docs/subsystems/search.md)."""

    messages: Annotated[
        Literal["auto", "on", "off"],
        _doc("Keep an index of their words. `auto`: unless at_rest.enabled, for the index holds them in the clear."),
    ] = "auto"


class Outbound(Section, frozen=True, kw_only=True):
    """Requests of the server to others, where somebody else says where they go."""

    allow: Annotated[
        tuple[str, ...], _doc("Networks that may be asked though they are private, such as `10.1.2.0/24`.")
    ] = ()
    deny: Annotated[
        tuple[str, ...], _doc("Networks that are not asked, besides private, local and reserved ones.")
    ] = ()


class Logging(Section, frozen=True, kw_only=True):
    """What is written to standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], _doc("The least important level written.")] = "info"
    format: Annotated[Literal["console", "json"], _doc("For people or for programs.")] = "console"
    requests: Annotated[bool, _doc("One line per request. Never with query or body.")] = False


class AppServices(Section, frozen=True, kw_only=True):
    """Bridges and bots that act for users of their own."""

    files: Annotated[tuple[str, ...], _doc("Registration files (YAML) of application services. Read at start.")] = ()
    transaction_events: Annotated[int, _doc("Most events that a service is sent at once.", ge=1, le=1000)] = 100
    transaction_bytes: Annotated[
        int, _doc("A transaction that is larger is not made any larger.", ge=65_536, le=64 * 1024 * 1024)
    ] = 2 * 1024 * 1024
    request_seconds: Annotated[int, _doc("How long a service may take over a transaction.", ge=1, le=600)] = 60
    query_seconds: Annotated[
        int, _doc("How long a service may take over a question that somebody waits for.", ge=1, le=60)
    ] = 10
    longest_wait_seconds: Annotated[
        int,
        _doc("A service that does not answer is tried again after 1, 2, 4 … seconds, and this at most.", ge=1, le=3600),
    ] = 512


class PresenceTimes(Section, frozen=True, kw_only=True):
    """When silence changes what others see of a user."""

    idle_seconds: Annotated[
        int, _doc("A user who has done nothing for so long is shown as unavailable.", ge=1, le=86_400)
    ] = 300
    offline_seconds: Annotated[
        int,
        _doc(
            "A user of whom no client was heard for so long is offline; longer than a sync may be held.",
            ge=1,
            le=86_400,
        ),
    ] = 300


class Metrics(Section, frozen=True, kw_only=True):
    """Prometheus."""

    allow: Annotated[
        tuple[str, ...], _doc("Networks that may read `/metrics`; requests that came through a proxy never may.")
    ] = ("127.0.0.0/8", "::1/128")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration."""

    server: Server = Server()
    database: Database = Database()
    redis: Redis = Redis()
    registration: Registration = Registration()
    auth: Auth = Auth()
    limits: Limits = Limits()
    rate_limits: RateLimits = RateLimits()
    rooms: Rooms = Rooms()
    encryption: Encryption = Encryption()
    push: Push = Push()
    mail: Mail = Mail()
    sync: Sync = Sync()
    stream: Stream = Stream()
    media: Media = Media()
    support: Support = Support()
    at_rest: AtRest = AtRest()
    search: Search = Search()
    previews: Previews = Previews()
    outbound: Outbound = Outbound()
    appservices: AppServices = AppServices()
    presence: PresenceTimes = PresenceTimes()
    logging: Logging = Logging()
    metrics: Metrics = Metrics()
