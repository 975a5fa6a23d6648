"""The bytes of events in a sync response: shared by all recipients unless the request wants a form of its own."""

from __future__ import annotations

import orjson

from homeserver.core.filters import apply_event_fields
from homeserver.ports.events import StoredEvent
from homeserver.services.rooms.render import client_json, federation_form, for_recipient
from homeserver.services.sync.body import RenderEvent, SyncBody, encode
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.shared import SharedSections


def encode_for(request: SyncRequest, body: SyncBody, shared: SharedSections | None = None) -> bytes:
    """The JSON of a response for the requesting device and its filter."""
    return encode(body, _renderer(request), request.state_field, shared)


def _renderer(request: SyncRequest) -> RenderEvent:
    fields = request.filter.event_fields
    shared = federation_form if request.filter.federation_format else _for_device(request)
    if fields is None:
        return shared
    return lambda stored: orjson.dumps(apply_event_fields(orjson.loads(shared(stored)), fields))


def _for_device(request: SyncRequest) -> RenderEvent:
    """The shared form, with the transaction id on the device's own events.

    spec: client-server-api#sending-events-to-a-room (UnsignedData.transaction_id)
    """
    user_id, device_id = request.user_id, request.device_id

    def render(stored: StoredEvent) -> bytes:
        txn = stored.txn
        if txn is not None and txn.user_id == user_id and txn.device_id == device_id:
            return for_recipient(stored, {"transaction_id": txn.txn_id})
        return client_json(stored)

    return render
