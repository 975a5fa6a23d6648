"""State resolution: one state out of several that disagree.

Start at `resolver`. Pure and synchronous: what it reads is named beforehand (`Resolver.missing`), so that a caller can
load it first. The cost follows the conflict, not the room: entries on which all states agree are never looked up.
spec: rooms/v2#state-resolution, rooms/v12#state-resolution, rooms/v1#state-resolution
"""
