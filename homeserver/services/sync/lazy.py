"""Which member events a device has been sent already, so that lazy loading does not repeat them.

An entry counts only once the client has come back with a token at or after the response that carried it: a
response that got lost is simply sent again.
spec: client-server-api#lazy-loading-room-members
"""

from __future__ import annotations

from collections import OrderedDict

Device = tuple[str, str]
Member = tuple[str, str]
"""(room id, user id)"""


class SentMembers:
    """Bounded memory of sent member events, per device."""

    def __init__(self, *, max_devices: int = 10_000, max_members: int = 500) -> None:
        self._max_devices = max_devices
        self._max_members = max_members
        self._sent: OrderedDict[Device, OrderedDict[Member, int]] = OrderedDict()

    def is_known(self, device: Device, member: Member, since: int) -> bool:
        """Whether the device, being at `since`, has received this member's event."""
        members = self._sent.get(device)
        if members is None:
            return False
        at = members.get(member)
        return at is not None and at <= since

    def note(self, device: Device, member: Member, at: int) -> None:
        """A response whose next_batch is `at` carries this member's event."""
        members = self._sent.setdefault(device, OrderedDict())
        self._sent.move_to_end(device)
        # An older, already acknowledged sending stays the better knowledge.
        members.setdefault(member, at)
        members.move_to_end(member)
        if len(members) > self._max_members:
            members.popitem(last=False)
        if len(self._sent) > self._max_devices:
            self._sent.popitem(last=False)

    def forget(self, device: Device) -> None:
        """The device starts anew (initial sync)."""
        self._sent.pop(device, None)
