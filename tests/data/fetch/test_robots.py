from __future__ import annotations

import time

from kosmos.data.fetch.robots import ALLOW_ALL, parse_robots


def test_groups_for_us_and_for_all() -> None:
    rules = parse_robots(
        b"User-agent: *\nDisallow: /\nUser-agent: a\nUser-agent: KOSMOS/2.0 # us\nDisallow: /x*.jpg$", "kosmos"
    )
    assert rules.allows("http://h/a.jpg", "kosmos")
    assert not rules.allows("http://h/x1.jpg", "kosmos")
    assert rules.allows("http://h/x1.jpg?size=2", "kosmos")
    assert not parse_robots(b"user agent *\ndisallow: /", "kosmos").allows("http://h/a", "kosmos")


def test_delays() -> None:
    assert parse_robots(b"User-agent: *\nCrawl-delay: 2.5", "kosmos").delay == 2.5
    assert parse_robots(b"User-agent: *\nRequest-rate: 1/10", "kosmos").delay == 10.0
    for odd in (b"nan", b"inf", b"-3", b"1e999", b"soon"):
        assert parse_robots(b"User-agent: *\nCrawl-delay: " + odd, "kosmos").delay == 0.0


def test_what_is_no_robots_txt_allows_everything() -> None:
    assert parse_robots(b"\xef\xbb\xbf\n <!DOCTYPE html>", "kosmos") is ALLOW_ALL
    assert parse_robots(bytes(range(256)), "kosmos").allows("http://h/a", "kosmos")


def test_a_hostile_file_takes_little_time() -> None:
    agents = b"".join(b"User-agent: bot%d\n" % number for number in range(12_000))
    rules = b"Disallow: /*a*a*a*a*a*a*a*a*b$\n" * 8_000
    start = time.process_time()
    parsed = parse_robots(agents + b"User-agent: *\n" + rules, "kosmos")
    assert parsed.allows("http://h/" + "a" * 2000, "kosmos")
    # Without care it takes minutes.
    assert time.process_time() - start < 5
