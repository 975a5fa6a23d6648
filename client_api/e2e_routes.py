"""The endpoints of end-to-end encryption.  spec: client-server-api#end-to-end-encryption"""

from __future__ import annotations

from client_api import dehydrated, keys
from client_api.bounds import KEYS_BODY
from client_api.deps import ClientServices
from homeserver.web.route import Auth, Route

V3 = "/_matrix/client/v3"
UNSTABLE = "/_matrix/client/unstable"
GUEST_OK = Auth.GUEST_OK
_FROM = {"from_": "from"}
_DEHYDRATED = f"{UNSTABLE}/org.matrix.msc3814.v1/dehydrated_device"
_EVENTS = f"{_DEHYDRATED}/{{deviceId}}/events"

E2E_ROUTES: list[Route[ClientServices]] = [
    Route("POST", f"{V3}/keys/upload", keys.upload_keys, body_limit=KEYS_BODY, auth=GUEST_OK, limit="keys"),
    Route("POST", f"{V3}/keys/query", keys.query_keys, body_limit=KEYS_BODY, auth=GUEST_OK, limit="keys"),
    Route("POST", f"{V3}/keys/claim", keys.claim_keys, body_limit=KEYS_BODY, auth=GUEST_OK, limit="keys"),
    Route("GET", f"{V3}/keys/changes", keys.get_keys_changes, auth=GUEST_OK, query_names=_FROM),
    Route(
        "POST", f"{V3}/keys/device_signing/upload", keys.upload_cross_signing_keys, body_limit=KEYS_BODY, limit="keys"
    ),
    Route(
        "POST",
        f"{V3}/keys/signatures/upload",
        keys.upload_cross_signing_signatures,
        body_limit=KEYS_BODY,
        auth=GUEST_OK,
        limit="keys",
    ),
    Route(
        "PUT",
        f"{V3}/sendToDevice/{{eventType}}/{{txnId}}",
        keys.send_to_device,
        body_limit=KEYS_BODY,
        auth=GUEST_OK,
        limit="to_device",
    ),
    Route("PUT", _DEHYDRATED, dehydrated.put_dehydrated_device, body_limit=KEYS_BODY, limit="keys"),
    Route("GET", _DEHYDRATED, dehydrated.get_dehydrated_device),
    Route("DELETE", _DEHYDRATED, dehydrated.delete_dehydrated_device),
    Route("GET", _EVENTS, dehydrated.get_dehydrated_device_events),
    Route("POST", _EVENTS, dehydrated.post_dehydrated_device_events),
]
