"""The services of the role `client`."""

from __future__ import annotations

from client_api.deps import ClientServices, PublicInfo
from homeserver.boot import Core, parts
from homeserver.config.model import Config
from homeserver.services.administration.container import AdministrationServices
from homeserver.services.personal.container import PersonalServices
from homeserver.services.personal.ignored import IgnoredUsers
from homeserver.services.reports import Reports
from homeserver.services.rooms.search import Search
from homeserver.services.sync.peek import Peeks
from homeserver.services.sync.service import SyncService
from homeserver.services.sync.stream import Sockets


def build_client(
    core: Core,
    administration: AdministrationServices,
    personal: PersonalServices,
    ignored: IgnoredUsers,
    sync: SyncService,
    peeks: Peeks,
    sockets: Sockets,
) -> ClientServices:
    """What the role's handlers get."""
    base, config = core.base, core.base.config
    return ClientServices(
        info=public_info(config),
        accounts=core.accounts,
        appservices=core.queries,
        administration=administration,
        rooms=core.rooms,
        e2e=core.e2e,
        sync=sync,
        peeks=peeks,
        sockets=sockets,
        ignored=ignored,
        reports=Reports(core.store, core.rooms.access, base.clock, max_length=config.limits.report_length),
        limits=core.limits,
        visitor_messages=core.support.messages,
        personal=personal,
        search=Search(
            core.store,
            core.rooms.access,
            core.lists,
            core.rooms.history,
            max_page=config.limits.search_page,
            enabled=parts.keeps_words(config),
        ),
    )


def public_info(config: Config) -> PublicInfo:
    """What the server says about itself."""
    server = config.server
    contact = {"role": "m.role.admin"}
    if server.support_email:
        contact["email_address"] = server.support_email
    if server.support_matrix_id:
        contact["matrix_id"] = server.support_matrix_id
    return PublicInfo(
        server_name=server.name,
        base_url=parts.public_base_url(config),
        support_contacts=(contact,) if len(contact) > 1 else (),
        support_page=server.support_page or None,
        default_room_version=config.rooms.default_version,
        encrypt_by_default=config.rooms.encrypt_by_default,
        can_change_3pids=bool(config.mail.host),
        can_get_login_token=config.auth.login_token_seconds > 0,
        visitor_message_bytes=config.support.message_bytes,
    )
