"""The bytes of events in a sync response: shared by all recipients unless the request wants a form of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from homeserver.core.filters import apply_event_fields
from homeserver.services.rooms.render import client_json, federation_form, for_recipient
from homeserver.services.rooms.visibility import Visible, has_quotes
from homeserver.services.sync.body import RenderEvents, SyncBody, template
from homeserver.services.sync.holes import Template
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.shared import Forms, SharedSections, finished

MembershipsAt = Callable[[Sequence[Visible]], Sequence[str | None]]
"""What to say of the reader's membership at events of a room; None: nothing."""
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
    renderers = _renderer(request, body, _in_timeline(body)), _renderer(request, body, _in_state)
    return template(body, *renderers, request.state_field, shared)


def _in_timeline(body: SyncBody) -> MembershipsAt:
    """The reader's membership at events of a timeline.

    State is told without: it takes much of the largest answers, and says what holds now.
    spec: client-server-api#room-event-format (unsigned.membership, MSC4115)
    """

    histories = body.histories

    def memberships(events: Sequence[Visible]) -> Sequence[str]:
        history = histories.get(events[0].room_nid) if events else None
        # Rooms of which the body has no history are those that the reader was joined to all along.
        return [_JOIN] * len(events) if history is None else history.memberships_at(events)

    return memberships


def _in_state(events: Sequence[Visible]) -> Sequence[None]:
    return [None] * len(events)


def _renderer(request: SyncRequest, body: SyncBody, memberships: MembershipsAt) -> RenderEvents:
    fields = request.filter.event_fields
    shared = _as_servers_do if request.filter.federation_format else _for_device(request, body, memberships)
    if fields is None:
        return shared

    def chosen(events: Sequence[Visible]) -> Forms:
        return _whole(orjson.dumps(apply_event_fields(orjson.loads(form), fields)) for form in finished(shared(events)))

    return chosen


def _as_servers_do(events: Sequence[Visible]) -> Forms:
    return _whole(map(federation_form, events))


def _whole(forms: Iterable[bytes]) -> Forms:
    """Forms into which nothing is to be put any more."""
    whole = tuple(forms)
    return whole, (None,) * len(whole)


def _for_device(request: SyncRequest, body: SyncBody, memberships_at: MembershipsAt) -> RenderEvents:
    """The shared form, with the transaction id on the device's own events and what is bundled with some.

    spec: client-server-api#sending-events-to-a-room (UnsignedData.transaction_id)
    """
    user_id, device_id = request.user_id, request.device_id
    relations = body.relations

    def render(events: Sequence[Visible]) -> Forms:
        forms: list[bytes] = []
        memberships: list[str | None] = list(memberships_at(events))
        for index, stored in enumerate(events):
            txn = None if stored.txn is None else stored.sent_from(user_id, device_id)
            quotes = has_quotes(stored)
            if txn is None and not quotes and (not relations or stored.event.event_id not in relations):
                forms.append(stored.client_json or client_json(stored))
                continue
            membership, memberships[index] = memberships[index], None
            extra: dict[str, Any] = {} if membership is None else {"membership": membership}
            if quotes and (history := body.histories.get(stored.room_nid)) is not None:
                extra.update(history.quotes(stored))
            if txn is not None:
                extra["transaction_id"] = txn.txn_id
            if (aggregations := relations.get(stored.event.event_id)) is not None:
                extra["m.relations"] = aggregations
            forms.append(for_recipient(stored, extra))
        return tuple(forms), tuple(memberships)

    return render
