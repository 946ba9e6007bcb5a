"""Who may talk to the chat's server: the page that it served itself, opened by the person who started it.

Any page in the user's browser can send requests to 127.0.0.1, and so can any other account of this machine. Each check
closes one way in: the host (a foreign name that resolves to this machine), the origin and the browser's own word on it
(another site, or another server here), the token, which stands in the address that the terminal shows and nowhere else,
and the size.
"""

import secrets
from collections.abc import Mapping

HOSTS = ("127.0.0.1", "localhost", "[::1]")
TOKEN_HEADER = "x-perennial-token"
MAX_BODY = 64 * 1024  # bytes; the longest message is less, however it is encoded
OPEN = ("/", "/page.css", "/page.js")  # the page itself: it holds nothing of anybody
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

NOT_HERE = "The chat answers under 127.0.0.1 and its own port alone. Open the address that the terminal shows."
NOT_FROM_THERE = "The chat answers its own page alone, and this comes from another one."
NOT_OF_NOW = "This address is of an earlier start, or not whole. Open the one that the terminal shows now."
NO_LENGTH = "The request doesn't say how long it is."
TOO_LONG = "This is too long to be sent."

Refusal = tuple[int, str] | None  # the status and a sentence; None if all is well


def refusal(path: str, headers: Mapping[str, str], port: int, token: str) -> Refusal:
    """Tell why a request is not answered.

    Args:
        path: what is asked for.
        headers: the request's, names in lower case.
        port: the server's.
        token: this start's.
    """
    if headers.get("host", "").lower() not in {f"{name}:{port}" for name in HOSTS}:
        return 421, NOT_HERE
    return _size(headers) or (None if path in OPEN else _stranger(headers, token))


def _size(headers: Mapping[str, str]) -> Refusal:
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal():
        return 411, NO_LENGTH
    return (413, TOO_LONG) if int(length) > MAX_BODY else None


def _stranger(headers: Mapping[str, str], token: str) -> Refusal:
    own = f"http://{headers['host'].lower()}"
    if headers.get("origin", own) != own or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return 403, NOT_FROM_THERE
    known = secrets.compare_digest(headers.get(TOKEN_HEADER, "").encode(), token.encode())
    return None if known else (403, NOT_OF_NOW)
