"""The bytes of events in a sync response: shared by all recipients unless the request wants a form of its own."""

from __future__ import annotations

from typing import Any

import orjson

from homeserver.core.filters import apply_event_fields
from homeserver.services.rooms.render import client_json, federation_form, for_recipient
from homeserver.services.rooms.visibility import Visible, has_quotes
from homeserver.services.sync.body import RenderEvent, SyncBody, template
from homeserver.services.sync.holes import Template
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.shared import SharedSections


def encode_for(request: SyncRequest, body: SyncBody, shared: SharedSections | None = None) -> bytes:
    """The JSON of a response for the requesting device and its filter."""
    return template_for(request, body, shared).filled(body.key_counts, body.unread)


def template_for(request: SyncRequest, body: SyncBody, shared: SharedSections | None = None) -> Template:
    """As `encode_for`, with what is the recipient's own left open."""
    return template(body, _renderer(request, body), request.state_field, shared)


def _renderer(request: SyncRequest, body: SyncBody) -> RenderEvent:
    fields = request.filter.event_fields
    shared = federation_form if request.filter.federation_format else _for_device(request, body)
    if fields is None:
        return shared
    return lambda stored: orjson.dumps(apply_event_fields(orjson.loads(shared(stored)), fields))


def _for_device(request: SyncRequest, body: SyncBody) -> RenderEvent:
    """The shared form, with the transaction id on the device's own events and what is bundled with some.

    spec: client-server-api#sending-events-to-a-room (UnsignedData.transaction_id)
    """
    user_id, device_id = request.user_id, request.device_id
    relations = body.relations

    def render(stored: Visible) -> bytes:
        txn = stored.sent_from(user_id, device_id)
        quotes = has_quotes(stored)
        if txn is None and not quotes and stored.event.event_id not in relations:
            return client_json(stored)
        extra: dict[str, Any] = {}
        if quotes and (history := body.histories.get(stored.room_nid)) is not None:
            extra.update(history.quotes(stored))
        if txn is not None:
            extra["transaction_id"] = txn.txn_id
        if (aggregations := relations.get(stored.event.event_id)) is not None:
            extra["m.relations"] = aggregations
        return for_recipient(stored, extra)

    return render
