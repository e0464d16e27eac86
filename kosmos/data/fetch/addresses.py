"""Which addresses may be fetched from.

A table of URLs is written by strangers, so a URL must not reach what only this machine can reach: its own services,
its network, the metadata service of its cloud. URLs are checked before every hop, and addresses once more when a
socket is opened to them, so that a name cannot resolve to one thing now and to another a moment later.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import yarl

from kosmos.data.fetch.results import FetchError
from kosmos.errors import ConfigError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL = 4096
_HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")

# IANA's special-purpose registry. Written out: `ipaddress.is_global` differs between releases of Python.
_NOT_PUBLIC_4 = [
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network, and unspecified
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by the customers of a carrier (CGNAT)
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, with the clouds' metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
]
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all other IPv6 is loopback, link-local, unique local, multicast, reserved
_NOT_PUBLIC_6 = [
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments, with Teredo, which wraps an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4 wraps an IPv4 address
        "3fff::/20",  # documentation
    )
]
_NAT64 = IPv6Network("64:ff9b::/96")
PRIVATE = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")


def is_public(address: Address) -> bool:
    """Whether the address belongs to one machine of the public internet.

    An IPv4 address wrapped as `::ffff:a.b.c.d` or by NAT64 counts as what it wraps; 6to4 and Teredo never do.
    """
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        wrapped = _wrapped(address)
        if wrapped is None:
            return address in _GLOBAL_UNICAST and not any(address in block for block in _NOT_PUBLIC_6)
        address = wrapped
    return not any(address in block for block in _NOT_PUBLIC_4)


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


class AddressRules:
    """What may be connected to: public addresses, the networks given, and the ports given (none: any port).

    Raises ConfigError for a network that is none.
    """

    def __init__(self, ports: Iterable[int] = (), networks: Iterable[str] = ()) -> None:
        self._ports = frozenset(ports)
        self._networks: list[Network] = []
        for text in networks:
            try:
                self._networks.append(ip_network(text))
            except ValueError as error:
                raise ConfigError(f"{text!r} is no network (like 10.1.0.0/16): {error}") from error

    def allows(self, address: Address | str) -> bool:
        """Whether a socket may be opened to this address."""
        if isinstance(address, str):
            try:
                address = ip_address(address)
            except ValueError:
                return False
        if is_public(address):
            return True
        wrapped = _wrapped(address) if isinstance(address, IPv6Address) else None
        return any(candidate in block for candidate in (address, wrapped) if candidate for block in self._networks)

    def check_url(self, url: yarl.URL) -> None:
        """Raise FetchError unless the URL is http(s), without credentials, on an allowed port, and its host is a name
        or an allowed address in its usual spelling. What a name resolves to is checked when it is connected to."""
        if url.scheme not in ("http", "https"):
            raise FetchError("scheme", url.scheme[:20])
        if url.raw_user is not None or url.raw_password is not None:
            raise FetchError("credentials in url")
        host = url.raw_host
        if not host:
            raise FetchError("bad url", "no host")
        if self._ports and url.port not in self._ports:
            raise FetchError("port", str(url.port))
        address = literal_address(host)
        if address is not None and not self.allows(address):
            raise FetchError("private address", host)


def parse_url(text: str) -> yarl.URL:
    """The URL without its fragment, read by the same parser that connects. Raises FetchError."""
    if len(text) > LONGEST_URL:
        raise FetchError("bad url", f"{len(text)} characters")
    try:
        url = yarl.URL(text.strip())
        url.port  # noqa: B018  # a port that is no number shows only here
        return url.with_fragment(None)
    except (ValueError, UnicodeError) as error:
        raise FetchError("bad url", str(error)[:200]) from error


def literal_address(host: str) -> Address | None:
    """The address that a URL's host spells, or None when it is a name.

    Raises FetchError for odd spellings of addresses (`0x7f.1`, `2130706433`, `127.1`, `127.0.0.1.`), which resolvers
    read in different ways, and for hosts with characters that no name has.
    """
    if ":" in host:
        try:
            return IPv6Address(host)
        except ValueError as error:
            raise FetchError("bad url", str(error)[:200]) from error
    if not _HOST_NAME.fullmatch(host) or len(host) > 253:
        raise FetchError("bad url", f"host {host[:100]!r}")
    # What ends in a number is an address to resolvers, whatever the other parts look like.
    if not _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return None
    try:
        return IPv4Address(host)
    except ValueError:
        raise FetchError("private address", f"{host[:100]} is an odd spelling of an address") from None
