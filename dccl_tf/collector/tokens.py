"""Bearer tokens: of the operator, and, if there is one, of enrolment."""

import hmac
import secrets
from pathlib import Path

from starlette.requests import Request

from dccl_tf.collector.problems import Problem
from dccl_tf.vectors.private_files import private_file

SHORTEST = 16  # characters
RANDOM_BYTES = 32


class Token:
    """A secret that a request must name."""

    def __init__(self, text: str) -> None:
        """Creates one; raises ValueError if it could be guessed."""
        if len(text) < SHORTEST or not text.isascii() or any(map(str.isspace, text)):
            raise ValueError(f"token: expected at least {SHORTEST} ASCII characters without spaces, got {len(text)}")
        self._expected = f"Bearer {text}".encode()

    @classmethod
    def from_file(cls, path: Path, make: bool) -> "Token":
        """The one in a file; where there is none and `make` is set, a random one that is written there.

        Raises:
          ValueError: the file holds no token.
          OSError: it cannot be read or made.
        """
        text = private_file(path, lambda: secrets.token_urlsafe(RANDOM_BYTES)) if make else path.read_text("utf-8")
        try:
            return cls(text.strip())
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def expect(self, request: Request) -> None:
        """Raises Problem 401 unless the request names it; compares in constant time."""
        given = request.headers.get("authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(given, self._expected):
            raise Problem(401, "Authorization: expected Bearer and the token", {"WWW-Authenticate": "Bearer"})
