"""Constructs what is behind the admin API."""

from __future__ import annotations

from dataclasses import replace

import homeserver
from homeserver.boot.accounts import Foundations
from homeserver.boot.support import SupportParts
from homeserver.services.accounts.container import AccountServices
from homeserver.services.accounts.passwords import Passwords, PasswordSettings
from homeserver.services.administration.container import AdministrationServices
from homeserver.services.administration.media import MediaAdministration
from homeserver.services.administration.moderation import ReportAdministration, TokenAdministration
from homeserver.services.administration.rooms import RoomAdministration
from homeserver.services.administration.sites import SiteAdministration
from homeserver.services.administration.users import UserAdministration
from homeserver.services.audit import Audit
from homeserver.services.media.control import MediaControl
from homeserver.services.rooms import RoomServices


def build_passwords(base: Foundations) -> Passwords:
    """Hashes and checks passwords."""
    auth = base.config.auth
    settings = PasswordSettings(min_length=auth.password_min_length, max_length=auth.password_max_length)
    return Passwords(settings, base.entropy)


def build_audit(base: Foundations) -> Audit:
    """The record of what administrators did."""
    limits = base.config.limits
    return Audit(base.store, base.clock, days=limits.admin_acts_days, keep=limits.admin_acts)


def build_administration(
    base: Foundations,
    audit: Audit,
    passwords: Passwords,
    accounts: AccountServices,
    rooms: RoomServices,
    support: SupportParts,
) -> AdministrationServices:
    """What is behind the admin API."""
    limits = base.config.limits
    users = UserAdministration(
        base.store,
        audit,
        accounts.admin,
        accounts.account,
        passwords,
        accounts.profiles,
        accounts.register,
        accounts.sessions,
        base.config.server.name,
        max_page=limits.admin_page,
    )
    return AdministrationServices(
        audit=audit,
        users=users,
        tokens=TokenAdministration(base.store, audit, base.clock, base.entropy),
        reports=ReportAdministration(rooms.memory, audit),
        rooms=RoomAdministration(
            rooms.memory,
            audit,
            rooms.memberships,
            base.clock,
            base.entropy,
            max_page=limits.admin_page,
            most=limits.admin_rooms,
        ),
        sites=SiteAdministration(
            base.store, support.sites, support.cases, accounts.account, audit, base.clock, base.config.server.name
        ),
        media=None,
        version=homeserver.__version__,
        max_page=limits.admin_page,
    )


def with_media(
    base: Foundations, administration: AdministrationServices, media: MediaControl | None
) -> AdministrationServices:
    """The same with media, where this process serves it."""
    if media is None:
        return administration
    config = base.config
    control = MediaAdministration(media, administration.audit, config.server.name, most=config.limits.admin_media)
    return replace(administration, media=control)
