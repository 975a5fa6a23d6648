"""The rule for m.room.member events.

Steps are numbered as in v12 (rule 5; in v6 to v11 it is rule 4), in its order; a step that only some versions have
says so. `join_authorised_via_users_server` needs keys of other servers, so its signature is a predicate of the caller.
spec: rooms/v12#authorisation-rules
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from homeserver.core.auth.create import creator_of, is_user_id
from homeserver.core.auth.power import PowerLevels
from homeserver.core.auth.state import CREATE, StateView, join_rule_of, membership_of
from homeserver.core.errors import MatrixError, NotAllowed
from homeserver.core.event import Event
from homeserver.core.ids import domain_of
from homeserver.core.signatures import BadSignature, decode_base64, encode_for, verify_bytes

SignedBy = Callable[[str], bool]
"""Whether the event in question is validly signed by the server of this name."""

# NOTSPEC: the rule tries every signature with every key, which one pair of 64 KiB events can make half a million
# verifications; no honest identity server comes near this bound.
_MAX_VERIFICATIONS = 1024


def check_member(event: Event, state: StateView, signed_by: SignedBy | None) -> None:
    """Rule 5 for an m.room.member event. Raises NotAllowed.

    `signed_by` None means that the signature of step 5.2 was checked when the event was received.
    """
    # 5.1 If there is no state_key property, or no membership property in content, reject.
    if event.state_key is None or event.membership is None:
        raise NotAllowed("A membership event needs a state_key and a membership")
    # 5.2 [from v8] If content has a join_authorised_via_users_server key:
    # 5.2.1 If the event is not validly signed by the homeserver of the user ID denoted by the key, reject.
    if event.version.auth.restricted and "join_authorised_via_users_server" in event.content:
        authoriser = event.content["join_authorised_via_users_server"]
        if not is_user_id(authoriser):
            raise NotAllowed("join_authorised_via_users_server must be a user id")
        if signed_by is not None and not signed_by(domain_of(authoriser)):
            raise NotAllowed("The authorising server has not signed the join")
    match event.membership:
        case "join":
            _check_join(event, event.state_key, state)
        case "invite":
            _check_invite(event, event.state_key, state)
        case "leave":
            _check_leave(event, event.state_key, state)
        case "ban":
            _check_ban(event, event.state_key, state)
        case "knock" if event.version.auth.knock:
            _check_knock(event, event.state_key, state)
        case _:
            # 5.8 Otherwise, the membership is unknown. Reject.
            raise NotAllowed("This membership does not exist in the room's version")


def _check_join(event: Event, target: str, state: StateView) -> None:
    """5.3 If membership is join."""
    # 5.3.1 If the only previous event is an m.room.create and the state_key is the creator [from v11: the sender of
    #       the m.room.create], allow.
    create = state.get(*CREATE)
    if create is not None and event.prev_events == (create.event_id,) and target == creator_of(create):
        return
    # 5.3.2 If the sender does not match state_key, reject.
    if event.sender != target:
        raise NotAllowed("Nobody can join for someone else")
    # 5.3.3 If the sender is banned, reject.
    membership = membership_of(state, target)
    if membership == "ban":
        raise NotAllowed("You are banned from this room")
    rule = join_rule_of(state)
    # 5.3.4 If the join_rule is invite or [from v7] knock then allow if membership state is invite or join.
    if rule == "invite" or (rule == "knock" and event.version.auth.knock):
        if membership in ("invite", "join"):
            return
        raise NotAllowed("You are not invited to this room")
    # 5.3.5 [from v8] If the join_rule is restricted or [from v10] knock_restricted:
    if _is_restricted(rule, event):
        # 5.3.5.1 If membership state is join or invite, allow.
        if membership not in ("join", "invite"):
            _check_authoriser(event, state)
        # 5.3.5.3 Otherwise, allow.
        return
    # 5.3.6 If the join_rule is public, allow.
    if rule == "public":
        return
    # 5.3.7 Otherwise, reject.
    raise NotAllowed("The join rules of this room do not let you join")


def _is_restricted(rule: str, event: Event) -> bool:
    rules = event.version.auth
    return (rule == "restricted" and rules.restricted) or (rule == "knock_restricted" and rules.knock_restricted)


def _check_authoriser(event: Event, state: StateView) -> None:
    # 5.3.5.2 If the join_authorised_via_users_server key in content is not a user with sufficient permission to
    #         invite other users or is not a joined member of the room, reject.
    authoriser = event.content.get("join_authorised_via_users_server")
    levels = PowerLevels.of(state, event.version)
    if (
        not isinstance(authoriser, str)
        or membership_of(state, authoriser) != "join"
        or levels.user(authoriser) < levels.named("invite")
    ):
        raise NotAllowed("Nobody who may invite vouches for this restricted join")


def _check_invite(event: Event, target: str, state: StateView) -> None:
    """5.4 If membership is invite."""
    # 5.4.1 If content has a third_party_invite property:
    if "third_party_invite" in event.content:
        _check_third_party_invite(event, target, state)
        return
    # 5.4.2 If the sender's current membership state is not join, reject.
    _check_sender_joined(event, state)
    # 5.4.3 If target user's current membership state is join or ban, reject.
    if membership_of(state, target) in ("join", "ban"):
        raise NotAllowed("The invited user is already joined or is banned")
    # 5.4.4 If the sender's power level is greater than or equal to the invite level, allow. 5.4.5 Otherwise, reject.
    levels = PowerLevels.of(state, event.version)
    if levels.user(event.sender) < levels.named("invite"):
        raise NotAllowed("Not enough power to invite")


def _check_third_party_invite(event: Event, target: str, state: StateView) -> None:
    # 5.4.1.1 If target user is banned, reject.
    if membership_of(state, target) == "ban":
        raise NotAllowed("The invited user is banned")
    # 5.4.1.2 If content.third_party_invite does not have a signed property, reject.
    invite = event.content["third_party_invite"]
    signed = invite.get("signed") if isinstance(invite, dict) else None
    if not isinstance(signed, dict):
        raise NotAllowed("The third-party invite has no signed part")
    # 5.4.1.3 If signed does not have mxid and token properties, reject.
    mxid, token = signed.get("mxid"), signed.get("token")
    if not isinstance(mxid, str) or not isinstance(token, str):
        raise NotAllowed("The third-party invite names no user or token")
    # 5.4.1.4 If mxid does not match state_key, reject.
    if mxid != target:
        raise NotAllowed("The third-party invite is for another user")
    # 5.4.1.5 If there is no m.room.third_party_invite event in the room state with state_key matching token, reject.
    offer = state.get("m.room.third_party_invite", token)
    if offer is None:
        raise NotAllowed("The room knows no such third-party invite")
    # 5.4.1.6 If sender does not match sender of the m.room.third_party_invite, reject.
    if event.sender != offer.sender:
        raise NotAllowed("The third-party invite was sent by another user")
    # 5.4.1.7 If any signature in signed matches any public key in the m.room.third_party_invite event, allow.
    # 5.4.1.8 Otherwise, reject.
    if not _is_signed_by_any(signed, offer):
        raise NotAllowed("The third-party invite is not signed by the keys of its offer")


def _is_signed_by_any(signed: Mapping[str, Any], offer: Event) -> bool:
    covered = {key: value for key, value in signed.items() if key not in ("signatures", "unsigned")}
    message = encode_for(covered, offer.version)
    keys = list(dict.fromkeys(_public_keys(offer.content)))
    tried = 0
    for signature in dict.fromkeys(_ed25519_signatures(signed.get("signatures"))):
        for key in keys:
            tried += 1
            if tried > _MAX_VERIFICATIONS:
                return False
            try:
                verify_bytes(message, signature, key)
            except BadSignature:
                continue
            return True
    return False


def _public_keys(content: Mapping[str, Any]) -> Iterator[bytes]:
    """The keys of an offer: a single one in `public_key`, a list in `public_keys`."""
    listed = content.get("public_keys")
    for holder in [content, *(listed if isinstance(listed, list) else [])]:
        encoded = holder.get("public_key") if isinstance(holder, dict) else None
        if isinstance(encoded, str):
            # Identity servers publish keys in either alphabet.
            yield from _decoded(encoded, urlsafe="-" in encoded or "_" in encoded)


def _decoded(encoded: str, *, urlsafe: bool) -> Iterator[bytes]:
    try:
        yield decode_base64(encoded, urlsafe=urlsafe)
    except MatrixError:
        return


def _ed25519_signatures(signatures: Any) -> Iterator[str]:
    for by_key in signatures.values() if isinstance(signatures, dict) else ():
        for key_id, signature in by_key.items() if isinstance(by_key, dict) else ():
            if key_id.startswith("ed25519:") and isinstance(signature, str):
                yield signature


def _check_leave(event: Event, target: str, state: StateView) -> None:
    """5.5 If membership is leave."""
    membership = membership_of(state, target)
    # 5.5.1 If the sender matches state_key, allow if and only if that user's current membership state is invite,
    #       join, or [from v7] knock.
    if event.sender == target:
        if membership in ("invite", "join") or (membership == "knock" and event.version.auth.knock):
            return
        raise NotAllowed("You are not in this room")
    # 5.5.2 If the sender's current membership state is not join, reject.
    _check_sender_joined(event, state)
    # 5.5.3 If the target user's current membership state is ban, and the sender's power level is less than the ban
    #       level, reject.
    levels = PowerLevels.of(state, event.version)
    own = levels.user(event.sender)
    if membership == "ban" and own < levels.named("ban"):
        raise NotAllowed("Not enough power to unban")
    # 5.5.4 If the sender's power level is greater than or equal to the kick level, and the target user's power level
    #       is less than the sender's power level, allow. 5.5.5 Otherwise, reject.
    if own < levels.named("kick") or levels.user(target) >= own:
        raise NotAllowed("Not enough power to kick this user")


def _check_ban(event: Event, target: str, state: StateView) -> None:
    """5.6 If membership is ban."""
    # 5.6.1 If the sender's current membership state is not join, reject.
    _check_sender_joined(event, state)
    # 5.6.2 If the sender's power level is greater than or equal to the ban level, and the target user's power level
    #       is less than the sender's power level, allow. 5.6.3 Otherwise, reject.
    levels = PowerLevels.of(state, event.version)
    own = levels.user(event.sender)
    if own < levels.named("ban") or levels.user(target) >= own:
        raise NotAllowed("Not enough power to ban this user")


def _check_knock(event: Event, target: str, state: StateView) -> None:
    """5.7 [from v7] If membership is knock."""
    # 5.7.1 If the join_rule is anything other than knock or [from v10] knock_restricted, reject.
    rule = join_rule_of(state)
    if rule != "knock" and not (rule == "knock_restricted" and event.version.auth.knock_restricted):
        raise NotAllowed("This room does not accept knocks")
    # 5.7.2 If sender does not match state_key, reject.
    if event.sender != target:
        raise NotAllowed("Nobody can knock for someone else")
    # 5.7.3 If the sender's current membership is not ban, invite, or join, allow. 5.7.4 Otherwise, reject.
    if membership_of(state, target) in ("ban", "invite", "join"):
        raise NotAllowed("You are already in this room, invited or banned")


def _check_sender_joined(event: Event, state: StateView) -> None:
    if membership_of(state, event.sender) != "join":
        raise NotAllowed("You are not in this room")
