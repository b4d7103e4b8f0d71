"""Serves a collector by uvicorn, and refuses to do so where it would be open to all by mistake."""

import ipaddress
import os
import socket
import ssl
from dataclasses import dataclass

import uvicorn

from dccl_tf.collector import logs
from dccl_tf.collector.app import application
from dccl_tf.collector.collector import Collector
from dccl_tf.collector.settings import Settings

CONNECTIONS = 10_000  # at a time; more are answered 503
SHUTDOWN_SECONDS = 30  # for requests under way when the process is told to end
IDLE_SECONDS = 60  # after which a connection without requests is closed


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

    def check_free(self) -> None:
        """Raises ValueError if nothing can listen here."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            socket.create_server((self.host, self.port), family=family).close()
        except OSError as error:
            raise ValueError(
                f"host, port: cannot listen on {self.host}, port {self.port} ({error.strerror or error}); "
                "choose another, or end what listens there"
            ) from error

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
      ValueError, OSError: a setting is not as it should be.
    """
    if not (address.is_loopback or settings.enrolment_token_file or open_enrolment):
        raise ValueError(
            f"enrolment_token_file: anybody who reaches {address.host} could register devices; give a file with a "
            "token that your app sends, or --open_enrolment"
        )
    address.check_free()
    logs.configure()
    collector = Collector.open(settings)
    collector.log.info(
        "serving", host=address.host, port=address.port, store=collector.store.location, bundles=settings.bundles_url
    )
    uvicorn.run(
        application(collector, log_requests),
        host=address.host,
        port=address.port,
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
