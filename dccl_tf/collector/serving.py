"""Serves a collector by uvicorn, and refuses to do so where it would be open to all by mistake."""

import errno
import ipaddress
import os
import socket
import ssl
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette

from dccl_tf.collector import logs
from dccl_tf.collector.app import application
from dccl_tf.collector.collector import Collector
from dccl_tf.collector.settings import Settings

CONNECTIONS = 10_000  # at a time; more are answered 503
SHUTDOWN_SECONDS = 30  # for requests under way when the process is told to end
IDLE_SECONDS = 60  # after which a connection without requests is closed
BACKLOG = 2048  # connections that the system has taken and the process has not
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclass(frozen=True)
class Address:
    """Where to listen, and how."""

    host: str = "127.0.0.1"
    port: int = 8080  # 0: a free one, which the log tells
    tls_certificate: str | None = None  # PEM files
    tls_key: str | None = None
    behind_proxy: bool = False  # which ends TLS and tells who asked in X-Forwarded headers

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise ValueError(f"port: expected 0 to {2**16 - 1}, got {self.port}")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate, tls_key: expected both or neither, got one")
        for name, file in (("tls_certificate", self.tls_certificate), ("tls_key", self.tls_key)):
            if file and not os.access(file, os.R_OK):
                raise ValueError(f"{name}: cannot read {file}")
        if self.tls_certificate:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.tls_certificate, self.tls_key)
            except OSError as error:  # ssl.SSLError is one
                raise ValueError(
                    "tls_certificate, tls_key: expected a certificate and its key as PEM, "
                    f"got {self.tls_certificate} and {self.tls_key} ({error})"
                ) from error
        if not (self.is_loopback or self.tls_certificate or self.behind_proxy):
            raise ValueError(
                f"host: {self.host} is not of this machine alone, and devices' keys would travel in the clear; give "
                "--tls_certificate and --tls_key, or --behind_proxy if a proxy before this ends TLS"
            )

    def listen(self) -> list[socket.socket]:
        """Sockets that listen, one for each address of the host that this machine has.

        Raises:
          ValueError: there is none, or another program listens there.
        """
        listening: list[socket.socket] = []
        absent: OSError | None = None
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, address in dict.fromkeys((family, address) for family, *_, address in found):
                try:
                    listening.append(socket.create_server(address, family=family, backlog=BACKLOG))
                except OSError as error:
                    if error.errno not in _NOT_HERE:
                        raise
                    absent = error  # as ::1 of localhost on a machine without IPv6
            if absent and not listening:
                raise absent
        except OSError as error:
            for one in listening:
                one.close()
            raise ValueError(
                f"host, port: cannot listen on {self.host}, port {self.port} "
                f"({str(error.strerror or error).partition(' (while')[0]}); "
                "choose another, or end what listens there"
            ) from error
        return listening

    def url(self, listening: socket.socket) -> str:
        """Of one of the sockets."""
        host, port = listening.getsockname()[:2]
        return f"http{'s' if self.tls_certificate else ''}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def serve(settings: Settings, address: Address, open_enrolment: bool = False, log_requests: bool = False) -> None:
    """Serves until the process is told to end (SIGTERM, SIGINT).

    Args:
      settings: of the collector.
      address: to listen on.
      open_enrolment: whether anybody who reaches it may register devices, where others than this machine can.
      log_requests: whether each request is a line of the log.

    Raises:
      ValueError, OSError: a setting is not as it should be, or the service did not start.
    """
    if not (address.is_loopback or settings.enrolment_token_file or open_enrolment):
        raise ValueError(
            f"enrolment_token_file: anybody who reaches {address.host} could register devices; give a file with a "
            "token that your app sends, or --open_enrolment"
        )
    with ExitStack() as stack:
        sockets = [stack.enter_context(one) for one in address.listen()]
        logs.configure()
        collector = Collector.open(settings)
        app = application(collector, log_requests)
        urls = [address.url(one) for one in sockets]
        where = {"store": collector.store.location, "bundles": settings.bundles_url}
        collector.log.info(f"running on {' and '.join(urls)}", **where)  # who connects now waits until it has started
        server = uvicorn.Server(_config(app, address))
        with suppress(KeyboardInterrupt, SystemExit):  # uvicorn raises SIGINT anew once it has ended
            server.run(sockets)
    if not server.started:
        raise OSError("serve: the service did not start; its log says why")


def _config(app: Starlette, address: Address) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ssl_certfile=address.tls_certificate,
        ssl_keyfile=address.tls_key,
        proxy_headers=address.behind_proxy,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        server_header=False,
        access_log=False,
        log_config=None,
    )
