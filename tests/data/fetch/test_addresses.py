from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kosmos.data.fetch.addresses import AddressRules, is_public, literal_address, parse_url
from kosmos.data.fetch.results import FetchError
from kosmos.errors import ConfigError

addresses_4 = st.one_of(
    st.ip_addresses(v=4),
    st.sampled_from(["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "224.0.0.1"]).map(IPv4Address),
)
addresses_6 = st.one_of(st.ip_addresses(v=6), st.integers(0, 2**125 - 1).map(lambda low: IPv6Address((1 << 125) + low)))


def refusal(url: str, rules: AddressRules | None = None) -> str | None:
    try:
        (rules or AddressRules()).check_url(parse_url(url))
    except FetchError as error:
        return error.reason
    return None


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.255",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::1",
        "3fff::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1111%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_not_public(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not AddressRules().allows(address)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "223.255.255.255"]
    + ["2606:4700:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"],
)
def test_public(address: str) -> None:
    assert is_public(ip_address(address))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(addresses_4)
def test_ipv4_is_stricter_than_python(address: IPv4Address) -> None:
    if is_public(address):
        assert address.is_global
        assert not (address.is_multicast or address.is_reserved or address.is_loopback or address.is_link_local)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(addresses_6)
def test_ipv6_is_stricter_than_python(address: IPv6Address) -> None:
    if is_public(address) and address.ipv4_mapped is None:
        assert address.is_global
        assert not (address.is_multicast or address.is_loopback or address.is_link_local or address.is_site_local)
        assert address.sixtofour is None and address.teredo is None


@settings(max_examples=100, deadline=None, derandomize=True)
@given(addresses_4)
def test_wrapped_addresses_count_as_what_they_wrap(address: IPv4Address) -> None:
    number = int(address)
    assert is_public(IPv6Address((0xFFFF << 32) + number)) == is_public(address)
    assert is_public(IPv6Address((0x0064FF9B << 96) + number)) == is_public(address)
    assert not is_public(IPv6Address((0x2002 << 112) + (number << 80)))
    assert not is_public(IPv6Address(number))
    rules = AddressRules(networks=["127.0.0.0/8"])
    assert rules.allows(IPv6Address((0xFFFF << 32) + number)) == rules.allows(address)


def spellings(number: int, data: st.DataObject) -> str:
    """One of the ways in which inet_aton reads the number: fewer parts, hexadecimal, octal."""
    parts = data.draw(st.integers(1, 4))
    whole = number.to_bytes(4, "big")
    values = [*whole[: parts - 1], int.from_bytes(whole[parts - 1 :], "big")]
    forms = [data.draw(st.sampled_from(["{}", "0x{:x}", "0{:o}", "0X{:X}"])).format(value) for value in values]
    return ".".join(forms) + data.draw(st.sampled_from(["", "."]))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(addresses_4, st.data())
def test_odd_spellings_are_refused(address: IPv4Address, data: st.DataObject) -> None:
    spelling = spellings(int(address), data)
    reason = refusal(f"http://{spelling}/a.jpg")
    if spelling == str(address):
        assert reason == (None if is_public(address) else "private address")
    else:
        assert reason == "private address"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(alphabet="0123456789abcdefx.-:%", max_size=20))
def test_no_host_that_the_system_reads_as_a_private_address_passes(host: str) -> None:
    try:
        meant = IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return
    if refusal(f"http://{host}/") is None:
        assert literal_address(host) == meant
        assert is_public(meant)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(max_size=40))
def test_any_text_is_refused_or_names_a_host(text: str) -> None:
    for url in (text, f"http://{text}"):
        reason = refusal(url)
        assert reason in (None, "bad url", "scheme", "credentials in url", "private address", "port")
        if reason is None:
            assert parse_url(url).scheme in ("http", "https") and parse_url(url).raw_host


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com/a.jpg", None),
        ("https://example.com:8443/a.jpg?x=1#y", None),
        ("HTTP://EXAMPLE.com/", None),
        ("http://münchen.example/ä.jpg", None),
        ("http://8.8.8.8/", None),
        ("http://[2606:4700:4700::1111]/", None),
        ("ftp://example.com/a.jpg", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://example.com/", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("//example.com/a", "scheme"),
        ("a.jpg", "scheme"),
        ("http://user:secret@example.com/", "credentials in url"),
        ("http://user@example.com/", "credentials in url"),
        ("http://:@example.com/", "credentials in url"),
        ("http://example.com:22/", "port"),
        ("http://example.com:6379/", "port"),
        ("http://example.com:99999/", "bad url"),
        ("http://example.com:x/", "bad url"),
        ("http:///a.jpg", "bad url"),
        ("http://exa mple.com/", "bad url"),
        ("http://example.com\r\nHost: other/", "bad url"),
        ("http://%31%32%37.0.0.1/", "bad url"),
        ("http://a\\b@c/", "bad url"),
        ("http://[::1", "bad url"),
        ("http://" + "a" * 5000, "bad url"),
        ("http://" + "a." * 200 + "com/", "bad url"),
        ("http://127.0.0.1/", "private address"),
        ("http://0x7f.1/", "private address"),
        ("http://2130706433/", "private address"),
        ("http://0177.0.0.1/", "private address"),
        ("http://127.1/", "private address"),
        ("http://127.0.0.1./", "private address"),
        ("http://127。0。0。1/", "private address"),
        ("http://①②⑦.0.0.1/", "private address"),
        ("http://foo.0x7f/", "private address"),
        ("http://[::1]/", "private address"),
        ("http://[::ffff:7f00:1]/", "private address"),
        ("http://[fe80::1%25eth0]/", "private address"),
    ],
)
def test_urls(url: str, reason: str | None) -> None:
    assert refusal(url, AddressRules(ports=(80, 443, 8080, 8443))) == reason


def test_networks_and_ports_that_are_allowed() -> None:
    rules = AddressRules(ports=(8000,), networks=["10.1.0.0/16", "fd00::/8"])
    assert rules.allows("10.1.2.3") and rules.allows("::ffff:10.1.2.3") and rules.allows("fd00::1")
    assert not rules.allows("10.2.0.1") and not rules.allows("no address")
    assert refusal("http://10.1.2.3:8000/", rules) is None
    assert refusal("http://10.1.2.3/", rules) == "port"
    with pytest.raises(ConfigError, match="no network"):
        AddressRules(networks=["10.1.0.1/16"])
