"""The dictionaries of stored events: what most of them contain anyway, so that it need not be stored in each.

They are part of the storage format. A dictionary never changes, for what was packed with it cannot be read without it:
a better one is added under the next number. Made by hand: what events and clients' messages are written with, the most
frequent last, because what is near costs least.

The tables before the text say how many bits each byte and match takes at first. They are libzstd's own (1.5.4,
`ZDICT_finalizeDictionary` at level 3) for the text below and 3,240 events of ten kinds in room versions 10 to 12 by
invented users, and count how letters and base64 are distributed, nothing else.
"""

from __future__ import annotations

from base64 import b64decode

_TABLES_1 = b64decode(
    "N6Qw7AEAAAAuELgK2gH8/////////z+z7shggQQSCD0j4/W8/L/3SYFFrUgGiQhq9KKjAACGAVMAAAwQKAoQlNWWAQAEAAgCQsKE"
    "RMJLBIkCSwUkVklYpCETREHGACBEEhCAGQEEAAAAtIvBgCFixIAgSDgygoEAMFgIAIqCAQyIwQAAAAEAAAAEAAAACAAAAA=="
)
_TEXT_1 = (
    # state of a room
    '"predecessor":{"event_id":"$","room_id":"!"},"room_version":"12"},"additional_creators":["@"],'
    '"creator":"@m.federate":true,"type":"m.space"'
    '{"deny":["*"],"allow":["*"],"allow_ip_literals":false},"type":"m.room.server_acl","type":"m.room.create",'
    '"type":"m.room.tombstone"'
    '{"algorithm":"m.megolm.v1.aes-sha2","rotation_period_ms":604800000,"rotation_period_msgs":100},'
    '"type":"m.room.encryption"'
    '{"guest_access":"can_join"forbidden"},"type":"m.room.guest_access"'
    '{"history_visibility":"world_readable"invited"joined"shared"},"type":"m.room.history_visibility"'
    '{"join_rule":"knock"restricted"invite"public"},"type":"m.room.join_rules"'
    '{"alias":"#","alt_aliases":["#"]},"type":"m.room.canonical_alias","type":"m.room.avatar"'
    '{"via":["matrix.org"]},"suggested":false,"type":"m.space.child","type":"m.space.parent"'
    '{"name":"},"type":"m.room.name","m.topic":{"m.text":[{"body":"},"topic":"},"type":"m.room.topic"'
    '{"ban":50,"events":{"m.room.avatar":50,"m.room.canonical_alias":50,"m.room.encryption":100,'
    '"m.room.history_visibility":100,"m.room.name":50,"m.room.power_levels":100,"m.room.server_acl":100,'
    '"m.room.tombstone":150},"events_default":0,"historical":100,"invite":0,"kick":50,'
    '"notifications":{"room":50},"redact":50,"state_default":50,"users":{"@":100},"users_default":0},"depth":,'
    '"type":"m.room.power_levels"'
    '{"avatar_url":"mxc://matrix.org/","displayname":"","is_direct":true,"join_authorised_via_users_server":"@",'
    '"membership":"invite"ban"leave"join"},"depth":'
    # what people send
    '"m.poll.response"org.matrix.msc3381.poll.start":{"answers":[{"id":"","org.matrix.msc1767.text":"},'
    '"m.call.invite","call_id":"","party_id":"","lifetime":60000,"version":"1"'
    '{"body":"image.png","filename":"","file":{"hashes":{"sha256":"},"iv":"","key":{"alg":"A256CTR","ext":true,'
    '"k":"","key_ops":["encrypt","decrypt"],"kty":"oct"},"url":"mxc://matrix.org/","v":"v2"},"info":{"duration":,'
    '"h":1080,"mimetype":"video/mp4"audio/ogg"image/png"image/jpeg","size":,'
    '"thumbnail_file":{"thumbnail_info":{"h":600,"mimetype":"image/jpeg","size":,"w":800},'
    '"thumbnail_url":"mxc://matrix.org/","w":1920,"xyz.amorgan.blurhash":""},'
    '"msgtype":"m.video"m.audio"m.file"m.emote"m.notice"m.image","url":"mxc://matrix.org/'
    '\\n> <@:matrix.org> <mx-reply><blockquote><a href=\\"https://matrix.to/#/!/$?via=matrix.org\\">In reply to</a> '
    '<a href=\\"https://matrix.to/#/@</a><br></blockquote></mx-reply>'
    "<p><strong><em><code><pre><ul>\\n<li></li>\\n</ul></p>"
    '{"reason":"","redacts":"$"},"depth":,"type":"m.room.redaction"}'
    '"},"depth":"type":"m.sticker","type":"m.reaction"}{"m.relates_to":{"event_id":"$","key":"👍️❤️😂🎉",'
    '"rel_type":"m.annotation"},"depth":'
    '"m.relates_to":{"event_id":"$","is_falling_back":true,"m.in_reply_to":{"event_id":"$"},'
    '"rel_type":"m.thread"},"msgtype":"m.text"},"depth":'
    '{"body":"* ","m.mentions":{},"m.new_content":{"body":"","format":"org.matrix.custom.html",'
    '"formatted_body":"","m.mentions":{"user_ids":["@"]},"msgtype":"m.text"},"m.relates_to":{"event_id":"$",'
    '"rel_type":"m.replace"},"msgtype":"m.text"},"depth":'
    '{"algorithm":"m.megolm.v1.aes-sha2","ciphertext":"AwgAEpABdevice_id":"","m.relates_to":{"event_id":"$",'
    '"rel_type":"m.reference"},"sender_key":"","session_id":""},"depth":'
    # what every event is made of
    '"],"room_id":"!:matrix.org","sender":"@:matrix.org","signatures":{"matrix.org":{"ed25519:a_'
    '"}},"state_key":"@","type":"m.room.member"}"}},"state_key":"","type":"m.room."}},"type":"m.room.encrypted"}'
    '{"auth_events":["$","$"],"content":{"body":"","m.mentions":{},"msgtype":"m.text"},"depth":1,'
    '"hashes":{"sha256":"'
    '"},"origin_server_ts":17,"prev_events":["$"],"room_id":"!","sender":"@'
    '","signatures":{"":{"ed25519:"}},"type":"m.room.message"}'
)

DICTIONARIES: dict[int, bytes] = {1: _TABLES_1 + _TEXT_1.encode()}
"""By number, which is the first byte of every value packed with it."""
