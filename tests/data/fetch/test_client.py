from __future__ import annotations

import asyncio
import gzip
import socket
import tracemalloc
import zlib
from itertools import pairwise

import aiohttp
import pytest
from aiohttp import web

from kosmos.data.fetch.addresses import AddressRules
from kosmos.data.fetch.client import PoliteClient
from kosmos.data.fetch.connector import AddressRefusedError, guarded_connector
from kosmos.data.fetch.results import Fetched, FetchFailure
from kosmos.data.fetch.robots import ALLOW_ALL, RobotsRules
from kosmos.data.fetch.settings import FetchSettings
from tests.data.fetch.loopback import Answer, CountedTime, Get, Site


def told(results: list[Fetched | FetchFailure]) -> list[bytes | str]:
    """The bytes, or the reason of the failure."""
    return [result.data if isinstance(result, Fetched) else result.reason for result in results]


def respond(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return answer


def stream(*pieces: bytes, pause: float = 0.0, **headers: str) -> Answer:
    """An answer piece by piece, without end when `pause` is given."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={k.replace("_", "-"): v for k, v in headers.items()})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        while pause:
            await asyncio.sleep(pause)
            await response.write(b".")
        return response

    return answer


def test_what_is_sent_and_what_comes_back(site: Site, get: Get) -> None:
    site.pages = {"/a": respond(200, b"one", Content_Type="image/x", Set_Cookie="id=1"), "/b": b"two"}
    found = get(site.url("/a"), site.url("/b#part"), user_agent="kosmos-test/1.0 (mail us)")
    assert found[0] == Fetched(b"one", "image/x", site.url("/a"))
    assert told(found) == [b"one", b"two"]
    assert site.paths() == ["/robots.txt", "/a", "/b"]
    for headers in site.headers:
        assert headers["User-Agent"] == "kosmos-test/1.0 (mail us)"
        assert headers["Accept-Encoding"] == "identity"
        assert not {"Cookie", "Authorization", "Referer"} & set(headers)


def test_refused_before_any_connection(site: Site, get: Get) -> None:
    urls = [
        "file:///etc/passwd",
        "http://a:b@site.test/",
        "http://127.1/",
        "http://[::1]/",
        "http://site.test:22/",
    ]
    assert told(get(*urls, ports=(80,))) == [
        "scheme",
        "credentials in url",
        "private address",
        "private address",
        "port",
    ]
    assert site.seen == []


def test_names_that_lead_to_private_addresses(site: Site, get: Get) -> None:
    found = get(site.url("/", "10-0-0-7.test"), site.url("/", "both.test"), site.url("/", "169-254-169-254.test"))
    assert told(found) == ["private address"] * 3
    assert isinstance(found[1], FetchFailure) and "10.0.0.7" in found[1].detail
    assert site.seen == []


def test_the_address_is_checked_when_the_socket_is_opened(site: Site) -> None:
    """Even where nothing looked at the URL or the name before."""

    async def connect() -> None:
        connector = guarded_connector(AddressRules(), 1)
        async with aiohttp.ClientSession(connector=connector) as session:
            await session.get(f"http://127.0.0.1:{site.port}/")

    with pytest.raises(aiohttp.ClientConnectorError) as caught:
        asyncio.run(connect())
    assert isinstance(caught.value.os_error, AddressRefusedError)
    assert site.seen == []


def test_a_name_that_changes_its_address_between_check_and_connection(site: Site, time_counted: CountedTime) -> None:
    """The addresses that were checked are those connected to: the name is not asked again in between."""
    answers = [["127.0.0.1"], ["10.0.0.7"]]
    asked: list[str] = []

    def rebinding(host: str) -> list[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    async def run() -> Fetched | FetchFailure:
        settings = FetchSettings(ports=(), allow_networks=("127.0.0.1/32",))
        async with PoliteClient(settings, time_counted.clock(), rebinding) as client:
            return await client.get(site.url("/a"))

    site.pages = {"/a": b"one"}
    assert told([asyncio.run(run())]) == [b"one"]
    assert asked == ["site.test"]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data/", "private address"),
        ("http://10-0-0-7.test/", "private address"),
        ("http://127.0.0.2/", "private address"),
        ("http://0x7f.1/", "private address"),
        ("http://[::1]/", "private address"),
        ("//[::ffff:7f00:2]/", "private address"),
        ("file:///etc/passwd", "scheme"),
        ("data:image/png;base64,AAAA", "scheme"),
        ("http://user:secret@site.test/", "credentials in url"),
        ("http://[", "bad url"),
        ("http://nowhere.test/", "host not found"),
    ],
)
def test_every_hop_is_checked(site: Site, get: Get, location: str, reason: str) -> None:
    site.pages = {"/a": respond(302, Location=location)}
    assert told(get(site.url("/a"))) == [reason]
    assert site.paths() == ["/robots.txt", "/a"]


def test_redirects_are_followed_and_capped(site: Site, get: Get) -> None:
    site.pages = {
        "/loop": respond(302, Location="/loop"),
        "/a": respond(301, Location="b?x=1"),
        "/b": respond(308, Location=site.url("/c", "other.test")),
        "other.test/c": b"there",
        "/lost": respond(302),
    }
    found = get(site.url("/loop"), site.url("/a"), site.url("/lost"), max_redirects=3)
    assert told(found) == ["too many redirects", b"there", "http 302"]
    assert isinstance(found[1], Fetched) and found[1].final_url == site.url("/c", "other.test")
    assert site.paths().count("/loop") == 4
    assert site.paths("other.test") == ["/robots.txt", "/c"]  # the host redirected to is asked too


def test_robots_txt_is_obeyed_and_asked_once(site: Site, get: Get) -> None:
    site.pages = {
        "site.test/robots.txt": b"User-agent: *\nDisallow: /\n\nUser-agent: Kosmos\nDisallow: /private\n",
        "other.test/robots.txt": b"User-agent: kos\nDisallow: /\nUser-agent: another\nDisallow: /\n",
        "/a": b"one",
        "/private/a": b"two",
        "/to": respond(302, Location="/private/a"),
    }
    urls = [site.url("/a"), site.url("/private/a"), site.url("/to"), site.url("/a", "other.test")]
    assert told(get(*urls)) == [b"one", "robots", "robots", b"one"]
    assert site.paths() == ["/robots.txt", "/a", "/to"]
    site.seen.clear()
    assert told(get(*[site.url("/a")] * 5, together=True)) == [b"one"] * 5
    assert site.paths().count("/robots.txt") == 1


@pytest.mark.parametrize(
    ("robots", "result"),
    [
        (respond(404), b"one"),
        (respond(403), b"one"),
        (respond(200, b""), b"one"),
        (respond(200, b"<html>Disallow: /</html>"), b"one"),
        (respond(200, b"\xff\xfe\x00 nonsense"), b"one"),
        (respond(302, Location="/robots.txt"), b"one"),
        (respond(302, Location="/rules"), "robots"),
        (respond(500), "robots unreachable"),
        (respond(429), "robots unreachable"),
        (respond(302, Location="http://10.0.0.7/robots.txt"), "private address"),
        (respond(200, b"x" * (600 << 10) + b"\nUser-agent: *\nDisallow: /"), b"one"),
        (respond(200, b"User-agent: *\nDisallow: /\n" + b"#" * (600 << 10)), "robots"),
    ],
)
def test_kinds_of_robots_txt(site: Site, get: Get, robots: Answer, result: bytes | str) -> None:
    site.pages = {"/robots.txt": robots, "/a": b"one", "/rules": b"User-agent: *\nDisallow: /a"}
    assert told(get(site.url("/a"))) == [result]


def test_a_robots_txt_that_failed_is_not_asked_for_each_url(site: Site, get: Get) -> None:
    site.pages = {"/robots.txt": respond(500), "/a": b"one"}
    assert told(get(*[site.url("/a")] * 3, retries=1)) == ["robots unreachable"] * 3
    assert site.paths() == ["/robots.txt"] * 2


def test_rate_and_crawl_delay(site: Site, get: Get, time_counted: CountedTime) -> None:
    site.pages = {"slow.test/robots.txt": b"User-agent: *\nCrawl-delay: 3"}
    times: list[float] = []

    async def page(request: web.BaseRequest) -> web.Response:
        times.append(time_counted.value)
        return web.Response(body=b"one")

    site.pages["/timed"] = page
    assert (
        told(get(*[site.url("/timed")] * 4, per_host_rate=2.0, per_host_concurrency=1, together=True)) == [b"one"] * 4
    )
    assert [later - before for before, later in pairwise(times)] == [0.5, 0.5, 0.5]
    times.clear()
    assert told(get(*[site.url("/timed", "slow.test")] * 3, per_host_concurrency=1, together=True)) == [b"one"] * 3
    assert [later - before for before, later in pairwise(times)] == [3.0, 3.0]


def test_a_crawl_delay_beyond_patience(site: Site, get: Get, time_counted: CountedTime) -> None:
    site.pages = {"/robots.txt": b"User-agent: *\nCrawl-delay: 86400", "/a": b"one"}
    assert told(get(site.url("/a"))) == ["rate limited"]
    assert sum(time_counted.waits) < 1


def test_requests_at_a_time(site: Site, get: Get) -> None:
    async def page(request: web.BaseRequest) -> web.Response:
        await asyncio.sleep(0.01)
        return web.Response(body=b"one")

    site.pages = {"/a": page}
    urls = [site.url("/a", f"{host}.test") for host in "abcd" for _ in range(4)]
    assert told(get(*urls, together=True, concurrency=3, per_host_concurrency=2)) == [b"one"] * 16
    most = site.most_at_once
    assert most["all"] <= 3
    assert all(most[f"{host}.test"] <= 2 for host in "abcd")
    assert len(site.seen) == 20


def failing(times: int, status: int, **headers: str) -> Answer:
    """Fails so many times, then answers."""
    left = [times]

    async def answer(request: web.BaseRequest) -> web.Response:
        left[0] -= 1
        return (
            web.Response(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})
            if (left[0] >= 0)
            else web.Response(body=b"at last")
        )

    return answer


def test_tries_again(site: Site, get: Get, time_counted: CountedTime) -> None:
    site.pages = {
        "/a": failing(2, 503),
        "/b": failing(1, 503, Retry_After="7"),
        "/c": failing(9, 500),
        "/d": respond(404),
    }
    urls = [site.url(path, f"{path[1]}.test") for path in ("/a", "/b", "/c", "/d")]
    assert told(get(*urls, retries=2)) == [b"at last", b"at last", "http 500", "http 404"]
    assert [site.paths(f"{host}.test").count(f"/{host}") for host in "abcd"] == [3, 2, 3, 1]
    assert 7.0 in time_counted.waits
    backoff = [wait for wait in time_counted.waits if wait not in (0.5, 7.0)]
    assert 1 <= backoff[0] <= 2 <= backoff[1] <= 4


def test_retry_after_holds_for_the_whole_host(site: Site, get: Get, time_counted: CountedTime) -> None:
    site.pages = {"/a": respond(429, Retry_After="5000"), "/b": b"two", "other.test/b": b"two"}
    urls = [site.url("/a"), site.url("/b"), site.url("/b", "other.test")]
    assert told(get(*urls)) == ["http 429", "rate limited", b"two"]
    assert site.paths() == ["/robots.txt", "/a"]
    assert max(time_counted.waits) < 1


def test_retry_after_as_a_date_in_the_past_and_as_nonsense(site: Site, get: Get) -> None:
    site.pages = {
        "/a": failing(1, 429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
        "/b": failing(1, 429, Retry_After="soon, ²"),
    }
    assert told(get(site.url("/a"), site.url("/b"))) == [b"at last", b"at last"]


def test_size_is_capped_while_reading(site: Site, get: Get) -> None:
    site.pages = {
        "/said": respond(200, b"x" * 2000),
        "/unsaid": stream(b"x" * 600, b"x" * 600, pause=0.01),
        "/gzip": respond(200, gzip.compress(b"fine"), Content_Encoding="gzip"),
        "/deflate": respond(200, zlib.compress(b"fine"), Content_Encoding="Deflate"),
        "/bomb": respond(200, gzip.compress(bytes(50 << 20)), Content_Encoding="gzip"),
        "/cut": respond(200, gzip.compress(b"fine")[:-6], Content_Encoding="gzip"),
        "/br": respond(200, b"x", Content_Encoding="br"),
        "/twice": respond(200, gzip.compress(gzip.compress(b"x")), Content_Encoding="gzip, gzip"),
        "/nonsense": respond(200, b"nonsense", Content_Encoding="gzip"),
        "/empty": b"",
        "/whole": b"x" * 1000,
    }
    found = get(*(site.url(path) for path in site.pages), max_bytes=1000, retries=0)
    assert dict(zip(site.pages, told(found))) == {
        "/said": "too large",
        "/unsaid": "too large",
        "/gzip": b"fine",
        "/deflate": b"fine",
        "/bomb": "too large",
        "/cut": "cut short",
        "/br": "encoding",
        "/twice": "encoding",
        "/nonsense": "encoding",
        "/empty": "empty",
        "/whole": b"x" * 1000,
    }


def test_a_bomb_takes_no_memory(site: Site, get: Get) -> None:
    """64 kB that unpack to 64 MB: the unpacking stops at the limit."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    site.pages = {"/bomb": respond(200, packed, Content_Encoding="deflate")}
    tracemalloc.start()
    assert told(get(site.url("/bomb"), max_bytes=1 << 20)) == ["too large"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_slow_servers_end_in_a_timeout(
    site: Site, get: Get, time_counted: CountedTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(request: web.BaseRequest) -> web.Response:
        while request.transport is not None:  # until the client goes away
            await asyncio.sleep(0.02)
        return web.Response()

    async def no_rules(client: PoliteClient, origin: object) -> RobotsRules:
        return ALLOW_ALL  # so that on a busy machine only the pages can be too slow

    monkeypatch.setattr(PoliteClient, "_fetch_robots", no_rules)
    site.pages = {"/drip": stream(b"x", pause=0.02), "/silent": silent}
    assert told(get(site.url("/drip"), site.url("/silent"), timeout=0.2, retries=1)) == ["timeout", "timeout"]
    assert len([wait for wait in time_counted.waits if wait != 0.5]) == 2  # each was tried again


def test_broken_answers(site: Site, get: Get) -> None:
    async def short(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"x" * 10)
        assert request.transport is not None
        request.transport.abort()
        return response

    site.pages = {
        "/short": short,
        "/header": respond(200, b"x", X_Long="y" * 20_000),
        "/headers": respond(200, b"x", **{f"X_{number}": "y" for number in range(500)}),
    }
    found = told(get(*(site.url(path) for path in site.pages), retries=0))
    assert found == ["cut short", "bad response", "bad response"]


def test_hosts_that_are_not_there(site: Site, get: Get) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        found = get("http://nowhere.test/", f"http://site.test:{port}/", site.url("/a", scheme="https"), retries=0)
    assert told(found) == ["host not found", "cannot connect", "tls"]


def test_opt_outs(site: Site, get: Get) -> None:
    site.pages = {
        "/noai": respond(200, b"x", X_Robots_Tag="noarchive, NoAI"),
        "/ours": respond(200, b"x", X_Robots_Tag="kosmos: noindex"),
        "/others": respond(200, b"x", X_Robots_Tag="otherbot: noindex"),
        "/harmless": respond(200, b"x", X_Robots_Tag="nosnippet"),
        "/tdm": respond(200, b"x", TDM_Reservation="1"),
    }
    found = told(get(*(site.url(path) for path in site.pages)))
    assert found == ["opted out", "opted out", b"x", b"x", "opted out"]


@pytest.mark.parametrize(
    ("url", "result"),
    [
        ("data:image/png;base64,aGVsbG8=", b"hello"),
        ("  DATA:;base64,aGVs bG8", b"hello"),
        ("data:text/plain,a%20b", b"a b"),
        ("data:,", b""),
        ("data:image/png;base64,%%%", "data url"),
        ("data:image/png", "data url"),
        ("data:," + "x" * 1001, "too large"),
        ("data:," + "x" * 10_000, "too large"),
    ],
)
def test_data_urls_are_decoded_here(site: Site, get: Get, url: str, result: bytes | str) -> None:
    assert told(get(url, max_bytes=1000)) == [result]
    assert site.seen == []
