"""The certificate: what a file has to pass before it is written."""

from dataclasses import asdict
from typing import Any

import tensorflow as tf

from export.checks import Check, of_a_runtime, of_the_file
from export.convert import ExportError
from export.operator_versions import OLDEST_RUNTIME
from export.runtimes import Candidate, RuntimeFailed, installed
from export.subject import Subject


class CertificateError(ExportError):
    """A check failed; nothing was written."""

    def __init__(self, checks: list[Check]) -> None:
        self.checks = checks
        failed = "; ".join(f"{c.name}: {c.measured}, expected {c.bound}" for c in checks if not c.passed)
        super().__init__(f"the certificate failed: {failed}")


def certify(subject: Subject, candidates: list[Candidate] | None = None) -> list[Check]:
    """Runs every check.

    Args:
      subject: the file and its origin.
      candidates: runtimes to try; all that are installed by default.

    Returns:
      The checks, all of them passed.

    Raises:
      CertificateError: with all checks, if any failed.
    """
    checks = [*of_the_file(subject)]
    for candidate in candidates if candidates is not None else installed():
        try:
            checks += of_a_runtime(subject, candidate)
        except RuntimeFailed as error:
            checks.append(Check(f"runs on {candidate.name}", False, str(error), "no error"))
    if not all(check.passed for check in checks):
        raise CertificateError(checks)
    return checks


def as_json(checks: list[Check], precision: str) -> dict[str, Any]:
    """The content of certificate.json: the same for the same file, checked on the same runtimes."""
    return {
        "precision": precision,
        "oldest_runtime": OLDEST_RUNTIME,
        "made_with": {"tensorflow": tf.__version__},
        "certified_on": {candidate.runtime: candidate.version for candidate in installed()},
        "checks": [asdict(check) for check in checks],
    }
