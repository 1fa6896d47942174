"""What is wrong with an image: one violation for each rule that it breaks, and the exception that refuses it."""

import dataclasses

from chexkeras.arguments import checked
from chexkeras.dicom.profiles import CLINICAL, Profile
from chexkeras.dicom.rules import REJECT


@dataclasses.dataclass(frozen=True)
class Violation:
    """One rule that an image breaks.

    Attributes:
        code: The rule's code.
        severity: "reject" or "warn".
        tag: The tag that was looked at.
        found: The value there, where it is a term of the vocabulary or a small number; empty when it is missing, is
            neither, or came from free text, which is never repeated.
        expected: What would have passed.
    """

    code: str
    severity: str
    tag: str
    found: str
    expected: str

    def __str__(self) -> str:
        found = f"; found {self.found}" if self.found else ""
        return f"{self.code}: {self.tag}: expected {self.expected}{found}"


@checked
class DicomRejected(Exception):
    """An image that must not be scored, with the reason.

    Attributes:
        code: The code of the first rejecting violation.
        tag: The tag that was looked at.
        found: The term or number found there; never free text.
        expected: What would have passed.
        violations: All violations, warnings included, in the order of the rules.
    """

    def __init__(self, violations: tuple[Violation, ...]):
        rejecting = [violation for violation in violations if violation.severity == REJECT]
        if not rejecting:
            raise ValueError("DicomRejected needs at least one violation of severity 'reject'; received none.")
        self.violations = tuple(violations)
        self.code, self.tag = rejecting[0].code, rejecting[0].tag
        self.found, self.expected = rejecting[0].found, rejecting[0].expected
        super().__init__("; ".join(map(str, rejecting)))

    def __reduce__(self) -> tuple[type, tuple[tuple[Violation, ...]]]:
        # Exceptions pickle by their message by default; a worker process must hand back the violations.
        return type(self), (self.violations,)

    @classmethod
    def because(cls, code: str, found: str = "", expected: str = "", profile: Profile = CLINICAL) -> "DicomRejected":
        """Returns the rejection for one rule.

        Args:
            code: The rule's code.
            found: What was found, in words of our own or as a measured number; never a value of the file.
            expected: What would have passed; by default what the rule says.
            profile: Where that depends on the profile, which one.
        """
        expected = expected or profile.expected(code)
        return cls((Violation(code, REJECT, profile.tag(code), found, expected),))
