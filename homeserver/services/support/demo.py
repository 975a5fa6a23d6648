"""The demo: a site for the shop page that this server shows on one's own machine, and an agent who answers there."""

from __future__ import annotations

import msgspec

from homeserver.ports.accounts import User
from homeserver.ports.clock import Clock
from homeserver.ports.store import Store
from homeserver.services.accounts.passwords import Passwords
from homeserver.services.rooms.membership import Memberships
from homeserver.services.support.site import parse_config
from homeserver.services.support.sites import Sites

SITE_ID = "demo"
AGENT = "agent"
_CONFIG = {
    "name": "Крамниця «Терен»",
    "locale": "uk",
    "theme": {"accent": "#8C3B4A"},
    "words": {
        "uk": {"greeting": "Вітаємо! Чим допомогти?", "promise": "Зазвичай відповідаємо за 5 хвилин."},
        "en": {
            "title": "Teren shop",
            "greeting": "Hello! How can we help?",
            "promise": "We usually answer in 5 minutes.",
        },
    },
    "form": {"fields": [{"name": "name"}, {"name": "email", "type": "email"}, {"name": "message", "required": True}]},
    "canned": {"hello": "Вітаю! Дайте мені хвилинку.", "thanks": "Дякуємо, що написали!"},
}


class Demo:
    """Makes what the demo needs, once."""

    def __init__(
        self, store: Store, sites: Sites, passwords: Passwords, memberships: Memberships, clock: Clock, server_name: str
    ) -> None:
        self._store = store
        self._sites = sites
        self._passwords = passwords
        self._memberships = memberships
        self._clock = clock
        self._server_name = server_name

    async def prepare(self, origin: str, password: str) -> None:
        """Make the agent and the site, or let the site follow the address that the shop has now."""
        agent = f"@{AGENT}:{self._server_name}"
        async with self._store.read() as tx:
            account = await tx.users.get(agent)
            known = await tx.support.site(SITE_ID)
        if account is None:
            hashed = await self._passwords.hash(password)
            async with self._store.write() as tx:
                # Not by registering: who registers first is to be the administrator.
                await tx.users.create(User(agent, self._clock.now_ms(), hashed))
                await tx.profiles.put(agent, "displayname", msgspec.json.encode("Олена"))
        config = parse_config({**_CONFIG, "origins": [origin]})
        if known is None:
            site = await self._sites.add(SITE_ID, config, [agent])
            for room_id in (site.row.space_id, site.row.desk_id):
                await self._memberships.join(agent, room_id)
        else:
            old = parse_config(known.config)
            if origin not in old.origins:
                await self._sites.edit(SITE_ID, msgspec.structs.replace(old, origins=(origin,)))
