"""Sends the uploads that wait, tries again where that helps, and believes only a receipt.

A network fails, a hotel's login page answers 200, a server is busy: whatever is not a receipt of this very upload
leaves it in the queue for the next time.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from device_runtime.cloud.transport import CONTENT_TYPE, Answer, Transport
from device_runtime.errors import InputError, UploadError
from device_runtime.log.outbox import ACCEPTED, DUPLICATE, QUEUED, REJECTED, Outbox, Queued
from protos import dccl_pb2

_BUSY = (408, 425, 429)  # beside all of 5xx: trying again may help
_STATUSES = {
    dccl_pb2.Receipt.ACCEPTED: ACCEPTED,
    dccl_pb2.Receipt.DUPLICATE: DUPLICATE,
    dccl_pb2.Receipt.REJECTED: REJECTED,
}


@dataclass(frozen=True)
class Retries:
    """How often to try, and how long to wait between: each wait is by chance between 0 and a bound that doubles."""

    attempts: int = 5
    first_wait: float = 1.0  # seconds: bound of the first wait
    longest_wait: float = 60.0  # seconds; a server that asks for more is left alone until then

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int) or self.attempts < 1:
            raise InputError(f"attempts: expected a whole number of at least 1, got {self.attempts!r}")
        for name in ("first_wait", "longest_wait"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not 0.0 <= value < math.inf:
                raise InputError(f"{name}: expected seconds, 0 or more, got {value!r}")


@dataclass(frozen=True)
class Delivery:
    """What became of one upload."""

    sequence: int
    status: str  # accepted, duplicate, rejected, superseded if it is never sent, or queued if it still waits
    detail: str  # the reason
    attempts: int  # of this call
    sent: int  # bytes of all attempts, head and body
    received: int

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self)


class Verdict(NamedTuple):
    """What the cloud made of an upload."""

    status: str  # accepted, duplicate or rejected
    detail: str  # why it was rejected
    sequence: int  # as the receipt says; 0 if it does not


class _NoReceipt(Exception):
    """An attempt without a receipt."""

    def __init__(self, problem: str, again: bool = True, retry_after: float | None = None) -> None:
        super().__init__(problem)
        self.again, self.retry_after = again, retry_after


def deliver(
    outbox: Outbox,
    sign: Callable[[bytes], bytes],
    transport: Transport,
    retries: Retries | None = None,
) -> list[Delivery]:
    """Sends what waits, oldest first, up to the first that brings no receipt.

    Args:
      outbox: the queue.
      sign: makes the body of a serialised VectorUpload.
      transport: how it travels.
      retries: how often to try.

    Returns:
      One for each upload that was tried, or that waits because the server asked for it.

    Raises:
      InputError: the transport or the retries are none.
      UploadError: the package tenacity is not installed.
    """
    if not callable(getattr(transport, "post", None)):
        raise InputError(f"to: expected an address or a transport with post(body), got {type(transport).__name__}")
    if retries is not None and not isinstance(retries, Retries):
        raise InputError(f"retries: expected a Retries, got {type(retries).__name__}")
    sent = []
    for one in outbox.waiting():
        if outbox.held:
            problem = f"the server asked for a pause, {outbox.held:.0f} seconds of it are left"
            sent.append(Delivery(one.sequence, QUEUED, problem, 0, 0, 0))
            break
        sent.append(_Sending(outbox, one, sign(one.content), transport).run(retries or Retries()))
        if sent[-1].status == QUEUED:
            break
    return sent


class _Sending:
    """One upload on its way."""

    def __init__(self, outbox: Outbox, one: Queued, body: bytes, transport: Transport) -> None:
        self._outbox, self._one, self._body, self._transport = outbox, one, body, transport
        self._attempts = self._sent = self._received = 0

    def run(self, retries: Retries) -> Delivery:
        try:
            import tenacity
        except ImportError as error:
            raise UploadError("send: expected the package tenacity; pip install 'dccl[device]'") from error
        backoff = tenacity.wait_random_exponential(multiplier=retries.first_wait, max=retries.longest_wait)

        def wait(state: tenacity.RetryCallState) -> float:
            return max(backoff(state), _problem(state).retry_after or 0.0)

        def enough(state: tenacity.RetryCallState) -> bool:
            asked = _problem(state).retry_after or 0.0
            return state.attempt_number >= retries.attempts or asked > retries.longest_wait

        again = tenacity.retry_if_exception(lambda error: isinstance(error, _NoReceipt) and error.again)
        retrying = tenacity.Retrying(wait=wait, stop=enough, retry=again, sleep=time.sleep, reraise=True)
        try:
            verdict = retrying(self._attempt)
        except _NoReceipt as problem:
            if problem.retry_after:
                self._outbox.hold(problem.retry_after)
            return self._delivery(QUEUED, str(problem))
        self._outbox.settle(self._one.sequence, verdict.status, verdict.detail)
        return self._delivery(verdict.status, verdict.detail)

    def _attempt(self) -> Verdict:
        if not self._outbox.waits(self._one.sequence):  # its user was forgotten, or a newer one took its place
            raise _NoReceipt("it no longer waits", again=False)
        self._attempts += 1
        sent, problem = 0, ""
        try:
            answer = self._transport.post(self._body)
            sent = answer.sent
            self._sent, self._received = self._sent + answer.sent, self._received + answer.received
            return _verdict(answer, self._one.sequence)
        except OSError as error:
            problem = f"no answer ({error})"
            raise _NoReceipt(problem) from error
        except _NoReceipt as error:
            problem = str(error)
            raise
        finally:
            self._outbox.attempted(self._one.sequence, sent, problem)

    def _delivery(self, status: str, detail: str) -> Delivery:
        return Delivery(self._one.sequence, status, detail, self._attempts, self._sent, self._received)


def _problem(state: Any) -> _NoReceipt:
    """The attempt's problem, from what tenacity knows of it."""
    return state.outcome.exception()


def _verdict(answer: Answer, sequence: int) -> Verdict:
    """The verdict in an answer. Raises _NoReceipt if it holds none of this upload."""
    if answer.status in _BUSY or answer.status >= 500:
        raise _NoReceipt(f"the server answered {answer.status}", retry_after=answer.retry_after)
    verdict = verdict_of(answer.body, sequence) if answer.content_type == CONTENT_TYPE else None
    if verdict is not None:
        return verdict
    again = answer.status < 300  # something between here and the cloud answered; 3xx and 4xx stay as they are
    raise _NoReceipt(f"the server answered {answer.status} without a receipt of this upload", again)


def verdict_of(body: bytes, sequence: int) -> Verdict | None:
    """What a serialised dccl.Receipt says of an upload; None if it is no receipt of this one."""
    receipt = dccl_pb2.Receipt()
    try:
        receipt.ParseFromString(body)
    except (DecodeError, TypeError):
        return None
    rejected = receipt.status == dccl_pb2.Receipt.REJECTED
    # A body that could not be read has no number to answer with.
    named = receipt.sequence == sequence or (rejected and not receipt.sequence)
    if receipt.status not in _STATUSES or not named:
        return None
    return Verdict(_STATUSES[receipt.status], _reason(receipt) if rejected else "", receipt.sequence)


def _reason(receipt: dccl_pb2.Receipt) -> str:
    try:
        reason = dccl_pb2.Reason.Name(receipt.reason)
    except ValueError:  # of a newer cloud
        reason = f"reason {receipt.reason}"
    return f"{reason}: {receipt.detail}" if receipt.detail else reason
