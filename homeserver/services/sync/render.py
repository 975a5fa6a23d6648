"""The bytes of events in a sync response: shared by all recipients unless the request wants a form of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from homeserver.core.filters import apply_event_fields
from homeserver.services.rooms.render import client_json, federation_form, for_member, for_recipient
from homeserver.services.rooms.visibility import Visible, has_quotes
from homeserver.services.sync.body import RenderEvent, SyncBody, template
from homeserver.services.sync.holes import Template
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.shared import SharedSections

MembershipAt = Callable[[Visible], str | None]
"""What to say of the reader's membership at an event; None: nothing."""
_JOIN = "join"


def encode_for(request: SyncRequest, body: SyncBody, shared: SharedSections | None = None) -> bytes:
    """The JSON of a response for the requesting device and its filter."""
    if body.is_empty:  # most answers of most polls
        return b'{"next_batch":"%b",%b}' % (body.next_batch.encode(), body.key_counts)
    return template_for(request, body, shared).filled(body.key_counts, body.unread)


def encode_parts(
    request: SyncRequest, body: SyncBody, whole_bytes: int, shared: SharedSections | None = None
) -> bytes | list[bytes]:
    """As `encode_for`, but for answers of more than `whole_bytes`, which come in parts."""
    if body.is_empty:
        return encode_for(request, body, shared)
    made = template_for(request, body, shared)
    fill = made.filled if made.size <= whole_bytes else made.parts
    return fill(body.key_counts, body.unread)


def template_for(request: SyncRequest, body: SyncBody, shared: SharedSections | None = None) -> Template:
    """As `encode_for`, with what is the recipient's own left open."""
    renderers = _renderer(request, body, _in_timeline(body)), _renderer(request, body, lambda _: None)
    return template(body, *renderers, request.state_field, shared)


def _in_timeline(body: SyncBody) -> MembershipAt:
    """The reader's membership at an event of a timeline.

    State is told without: it takes much of the largest answers, and says what holds now.
    spec: client-server-api#room-event-format (unsigned.membership, MSC4115)
    """

    histories = body.histories

    def membership(stored: Visible) -> str:
        history = histories.get(stored.room_nid)
        # Rooms of which the body has no history are those that the reader was joined to all along.
        return _JOIN if history is None else history.membership_at(stored)

    return membership


def _renderer(request: SyncRequest, body: SyncBody, membership: MembershipAt) -> RenderEvent:
    fields = request.filter.event_fields
    shared = federation_form if request.filter.federation_format else _for_device(request, body, membership)
    if fields is None:
        return shared
    return lambda stored: orjson.dumps(apply_event_fields(orjson.loads(shared(stored)), fields))


def _for_device(request: SyncRequest, body: SyncBody, membership_at: MembershipAt) -> RenderEvent:
    """The shared form, with the transaction id on the device's own events and what is bundled with some.

    spec: client-server-api#sending-events-to-a-room (UnsignedData.transaction_id)
    """
    user_id, device_id = request.user_id, request.device_id
    relations = body.relations

    def render(stored: Visible) -> bytes:
        txn = None if stored.txn is None else stored.sent_from(user_id, device_id)
        quotes = has_quotes(stored)
        membership = membership_at(stored)
        if txn is None and not quotes and stored.event.event_id not in relations:
            if membership is None:
                return client_json(stored)
            return for_member(stored, membership)
        extra: dict[str, Any] = {} if membership is None else {"membership": membership}
        if quotes and (history := body.histories.get(stored.room_nid)) is not None:
            extra.update(history.quotes(stored))
        if txn is not None:
            extra["transaction_id"] = txn.txn_id
        if (aggregations := relations.get(stored.event.event_id)) is not None:
            extra["m.relations"] = aggregations
        return for_recipient(stored, extra)

    return render
