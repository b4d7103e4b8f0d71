"""How an upload travels: anything that can post bytes, and HTTP by the standard library."""

import email.utils
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from device_runtime.errors import InputError

CONTENT_TYPE = "application/x-protobuf"
PATH = "/v1/vectors"
_LARGEST_ANSWER = 64 * 1024
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int  # of HTTP
    body: bytes
    content_type: str = CONTENT_TYPE
    retry_after: float | None = None  # seconds, if the server asks for it
    sent: int = 0  # bytes, head and body, before encryption
    received: int = 0


class Transport(Protocol):
    """Posts a body and gives the answer."""

    def post(self, body: bytes) -> Answer:
        """Raises OSError if no answer came."""
        ...


class HttpTransport:
    """POST over HTTPS; see `opener` for proxies and redirects."""

    def __init__(
        self,
        url: str,
        timeout: float = 10.0,
        headers: Mapping[str, str] | None = None,
        insecure: bool = False,
        path: str = PATH,
    ) -> None:
        """Takes the collector's address.

        Args:
          url: https://..., or http://... to this machine itself.
          timeout: seconds without a byte after which an attempt has failed.
          headers: further ones, such as a token's.
          insecure: allows http:// to other machines; the vector then travels in the clear.
          path: of an address without one.

        Raises:
          InputError: the address is none of these.
        """
        self.url = checked_address(url, path, insecure)
        self._timeout, self._headers = (
            timeout,
            {"Content-Type": CONTENT_TYPE, "Accept": CONTENT_TYPE, **(headers or {})},
        )

    def post(self, body: bytes) -> Answer:
        """Raises OSError if no answer came."""
        counts = {"sent": 0}
        request = urllib.request.Request(self.url, body, self._headers, method="POST")
        try:
            try:
                with opener(self.url, _Http(counts), _Https(counts)).open(request, timeout=self._timeout) as response:
                    return _answer(response.status, response, counts)
            except urllib.error.HTTPError as error:  # an answer too
                with error:
                    return _answer(error.code, error, counts)
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"{type(error).__name__}: {error}") from error


def checked_address(url: str, path: str, insecure: bool = False) -> str:
    """The address, with `path` if it has none. Raises InputError unless it is https://... or of this machine itself;
    `insecure` allows http:// to others."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:  # brackets that do not close
        raise InputError(f"url: expected https://HOST or https://HOST/PATH, got {url!r} ({error})") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"url: expected https://HOST or https://HOST/PATH, got {url!r}")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not insecure:
        raise InputError(f"url: expected https, since others could read and change what travels, got {url!r}")
    return parts._replace(path=path).geturl() if parts.path in ("", "/") else url


def opener(url: str, *handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """Opens an address by the proxies of the environment, but this machine's own without any: `http://` to it is in
    the clear. Redirects are not followed."""
    here = urllib.parse.urlsplit(url).hostname in _LOOPBACK
    direct = [urllib.request.ProxyHandler({})] if here else []
    return urllib.request.build_opener(*handlers, *direct, _NoRedirect())


def _answer(status: int, response: Any, counts: dict[str, int]) -> Answer:
    body = response.read(_LARGEST_ANSWER)
    head = len(str(response.headers).encode())
    return Answer(
        status=status,
        body=body,
        content_type=response.headers.get_content_type(),
        retry_after=_seconds(response.headers.get("Retry-After")),
        sent=counts["sent"],
        received=head + len(body),
    )


def _seconds(value: str | None) -> float | None:
    """A Retry-After in seconds, which may come as seconds or as a date; None if it is neither."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET, such as to the login page of a hotel's network, and a redirect may leave
    https."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Counting:
    """Counts what a connection sends."""

    counts: dict[str, int]

    def send(self, data: Any) -> None:
        self.counts["sent"] += len(data)
        super().send(data)  # type: ignore[misc]


def _counting(connection: type[http.client.HTTPConnection], counts: dict[str, int]) -> Any:
    return type("Counting", (_Counting, connection), {"counts": counts})


class _Http(urllib.request.HTTPHandler):
    def __init__(self, counts: dict[str, int]) -> None:
        super().__init__()
        self._counts = counts

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_counting(http.client.HTTPConnection, self._counts), request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, counts: dict[str, int]) -> None:
        super().__init__()
        self._counts = counts

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(_counting(http.client.HTTPSConnection, self._counts), request)
