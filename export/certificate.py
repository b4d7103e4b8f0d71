"""The certificate: what a file has to pass before it is written."""

from dataclasses import asdict, replace
from typing import Any

import tensorflow as tf

from export.checks import NEAR_FLOAT32, STEPS_AGREE, Check, of_a_runtime, of_the_file
from export.convert import ExportError
from export.operator_versions import OLDEST_RUNTIME
from export.runtimes import Candidate, RuntimeFailed, installed
from export.subject import Subject

DRAWS = 3  # of the golden calls


class CertificateError(ExportError):
    """A check failed; nothing was written."""

    def __init__(self, checks: list[Check]) -> None:
        self.checks = checks
        failed = "; ".join(f"{c.name}: {c.measured}, expected {c.bound}" for c in checks if not c.passed)
        super().__init__(f"the certificate failed: {failed}")


def certify(subject: Subject, candidates: list[Candidate] | None = None) -> tuple[Subject, list[Check]]:
    """Runs every check.

    Of a hundred files about one meets a kink of ReLU with its golden rows: two runtimes that round differently then
    take different training steps, and no phone could replay them. So where the steps alone disagree, other rows are
    drawn. What is wrong with a file fails them too.

    Args:
      subject: the file and its origin.
      candidates: runtimes to try; all that are installed by default.

    Returns:
      The subject with the golden calls that passed, and the checks, all of them passed.

    Raises:
      CertificateError: with all checks, if any failed.
    """
    for draw in range(DRAWS):
        drawn = replace(subject, seed=subject.seed + draw)
        checks = _checks(drawn, installed() if candidates is None else candidates)
        failed = [check for check in checks if not check.passed]
        if not failed:
            return drawn, checks
        if not all(check.name.startswith((STEPS_AGREE, NEAR_FLOAT32)) for check in failed):
            break
    raise CertificateError(checks)


def _checks(subject: Subject, candidates: list[Candidate]) -> list[Check]:
    checks = [*of_the_file(subject)]
    for candidate in candidates:
        try:
            checks += of_a_runtime(subject, candidate)
        except RuntimeFailed as error:
            checks.append(Check(f"runs on {candidate.name}", False, str(error), "no error"))
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
