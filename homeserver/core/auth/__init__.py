"""Authorisation: who may do what in a room, for room versions 1 to 12.

Start at `rules.check`. Pure: state comes in as a StateView, signatures of other servers as a predicate.
spec: server-server-api#authorisation-rules
"""
