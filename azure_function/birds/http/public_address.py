"""Decide which network addresses the function may connect to for a caller: public ones only."""

import ipaddress

IPV6 = ipaddress.ip_network("2000::/3")  # global unicast
REFUSED = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16",  # the host of an Azure machine, which has a public number
            *("192.0.0.0/24", "192.88.99.0/24"),  # protocols: Python 3.11 takes some for public
            *("2001::/23", "2002::/16"),  # protocols; IPv4 addresses in tunnels (Teredo, 6to4)
            "3fff::/20",  # documentation
        ),
    )
)


def is_public(text: str) -> bool:
    """Return whether an IP address belongs to the public internet.

    Private, loopback, link-local (cloud metadata), shared, multicast and reserved addresses do not,
    nor do IPv6 addresses that stand for an IPv4 address, whatever that is, nor those with a zone.
    The ranges are those of IANA's special-purpose registries, as `ipaddress` knows them.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, ipaddress.IPv6Address) and (address not in IPV6 or address.scope_id):
        return False
    return not any(address in network for network in REFUSED)
