"""Which addresses requests may go to, when somebody else says where.

`ipaddress.is_global` is not enough: it lets through addresses that carry an IPv4 address inside (NAT64, 6to4, mapped
ones), and those lead to wherever that one leads.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Every one of them is either nobody's, this machine's, a neighbour's, or an IPv4 address in disguise.
DENIED: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in """0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
    192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
    ::/96 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16
    fc00::/7 fe80::/10 fec0::/10 ff00::/8""".split()
)


class AddressRules:
    """What is denied, and what of it the operator allows after all."""

    def __init__(self, allowed: Sequence[Network] = (), denied: Sequence[Network] = ()) -> None:
        """`allowed` goes before everything; `denied` is added to what is always denied."""
        self._allowed = tuple(allowed)
        self._denied = (*DENIED, *denied)

    def permits(self, text: str) -> bool:
        """Whether a request may go to this address. What is no address may not be asked."""
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if _within(address, self._allowed):
            return True
        return not _within(address, self._denied)


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
