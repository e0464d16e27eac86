"""Pictures of other hosts, for servers that list some: https only, no redirect, no private address, within caps.

The name is resolved once and the connection goes to that very address, which is looked at again as the socket is
opened; so a name that changes its address between two look-ups gains nothing. The rules are those of `kosmos data
fetch`. Certificates are checked against the name; proxies and cookies are not used.
"""

from __future__ import annotations

import asyncio
import ssl

from kosmos.errors import ConfigError

try:
    import aiohttp
    import yarl
except ImportError as error:
    raise ConfigError("--allow-image-host needs aiohttp: pip install 'kosmos[serve]' aiohttp yarl") from error

from kosmos.data.fetch.addresses import AddressRules, literal_address, parse_url
from kosmos.data.fetch.body import read_capped
from kosmos.data.fetch.connector import AddressRefusedError, Lookup, guarded_connector, system_lookup
from kosmos.data.fetch.results import FetchError
from kosmos.serving.options import ServeOptions
from kosmos.serving.refusals import Refusal

_HTTPS = 443
_AT_A_TIME = 8
_HEADERS = {"User-Agent": "kosmos-serve", "Accept": "image/png,image/jpeg,image/webp,image/gif"}
_slots = asyncio.Semaphore(_AT_A_TIME)  # belongs to the one event loop of the server


async def fetch_picture(
    url: str,
    options: ServeOptions,
    param: str,
    *,
    lookup: Lookup = system_lookup,
    rules: AddressRules | None = None,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """The bytes behind an https URL of a listed host. Raises Refusal: 400 for a URL that may not be fetched, 413 for
    too many bytes, 504 for too many seconds, 502 for what else goes wrong at the other end.

    lookup, rules, tls   replace the name server, the rules for addresses and ports, and the trusted certificates
    """
    rules = rules or AddressRules(ports=(_HTTPS,))
    try:
        target = _checked(url, options, rules)
        async with asyncio.timeout(options.remote_timeout_s):
            async with _slots:
                return await _get(target, options.max_image_bytes, rules, lookup, tls)
    except FetchError as error:
        raise _refusal(error, param) from error
    except TimeoutError as error:
        raise _refusal(FetchError("timeout"), param) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _refusal(FetchError("private address" if _refused_address(error) else "failed"), param) from error


def _checked(text: str, options: ServeOptions, rules: AddressRules) -> yarl.URL:
    """Raises FetchError unless the URL is https, of a listed host called by its name, on the allowed port."""
    url = parse_url(text)
    if url.scheme != "https":
        raise FetchError("scheme")
    rules.check_url(url)
    host = (url.raw_host or "").rstrip(".").lower()
    if host not in options.remote_hosts or literal_address(host) is not None:
        raise FetchError("host not listed")
    return url


async def _get(url: yarl.URL, limit: int, rules: AddressRules, lookup: Lookup, tls: ssl.SSLContext | None) -> bytes:
    """The body of one answer of status 200. Raises FetchError and what aiohttp raises."""
    session = aiohttp.ClientSession(
        connector=guarded_connector(rules, 1, lookup),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={**_HEADERS, "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=None),  # the total is the caller's: it spans the wait for a slot
        auto_decompress=False,
        trust_env=False,
    )
    async with session, session.get(url, allow_redirects=False, ssl=tls or True) as response:
        if 300 <= response.status < 400:
            raise FetchError("redirect")
        if response.status != 200:
            raise FetchError("status", str(response.status))
        if response.content_length is not None and response.content_length > limit:
            raise FetchError("too large")
        return await read_capped(response.content.iter_any(), response.headers.get("Content-Encoding", ""), limit)


def _refused_address(error: BaseException | None) -> bool:
    while error is not None:  # comes wrapped by whoever tried to connect
        if isinstance(error, AddressRefusedError):
            return True
        error = error.__cause__ or error.__context__
    return False


_REASONS = {
    "bad url": (400, "the URL cannot be read"),
    "scheme": (400, "only https: is fetched"),
    "credentials in url": (400, "a URL with a user name is not fetched"),
    "port": (400, "only port 443 is fetched from"),
    "host not listed": (400, "the host is not one that this server fetches from"),
    "private address": (400, "the address is not one of the public internet"),
    "redirect": (400, "the host answers with a redirect, which is not followed; give the final URL"),
    "too large": (413, "the picture is over the limit of bytes"),
    "timeout": (504, "the host took too long"),
}


def _refusal(error: FetchError, param: str) -> Refusal:
    status, reason = _REASONS.get(error.reason, (502, "the host did not give the picture"))
    return Refusal(status, f"{param}: {reason}", code="image_not_fetched", param=param)
