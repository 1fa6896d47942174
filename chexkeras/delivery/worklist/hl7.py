r"""A worklist as HL7 version 2 messages: one ORU^R01 a study, in the order in which studies are worth reading.

Source:
    HL7 2.5.1, chapters 2 (encoding, batches), 3 (PID) and 7 (ORU^R01, OBR, OBX).
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from chexkeras.delivery.worklist.identified import IdentifiedFilm, StudyResults, day
from chexkeras.delivery.worklist.order import GROUPS, suspicion
from chexkeras.dicom.objects.codes import OWN, CodeTriplet, finding_code
from chexkeras.dicom.objects.structured_report import CALL_CODES, CHEST_XRAY, NOT_ASSESSED, SCORE, THRESHOLD
from chexkeras.dicom.objects.told import NEGATIVE, POSITIVE, DeviceFacts, ScoredFinding
from chexkeras.dicom.objects.wording import PRELIMINARY, caution_lines, device_lines, tested_line

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ESCAPES = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"})
_LINES, _UNSEEN = re.compile(r"\r\n|[\r\n]"), re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SENDER = "CHEXKERAS"
_DIGITS = 6
# Table 0078; a score in the band that the run leaves open is neither.
_FLAGS = {POSITIVE: "A", NEGATIVE: "N"}
# Table 0085: preliminary; cannot be obtained.
_PRELIMINARY, _NOT_OBTAINED = "P", "X"
# Table 0103: what is not for clinical use travels as training, which no system takes for care.
_PRODUCTION, _TRAINING = "P", "T"
_RANK = CodeTriplet("RANK", OWN, "Place in the reading order")
_GROUP = CodeTriplet("GROUP", OWN, "Group in the reading order")
_FILM = CodeTriplet("FILM", OWN, "SOP Instance UID of the film")
# As IHE's radiology framework names a study in a message.
_STUDY = CodeTriplet("113014", "DCM", "DICOM Study")


def oru_batch(studies: Sequence[StudyResults], device: DeviceFacts, made: datetime) -> str:
    """Returns a batch of messages.

    Args:
        studies: The results by study, in their order.
        device: The run.
        made: When the messages are made, with its time zone.
    """
    when, delimiters = _instant(made), "^~\\&"
    head = [f"FHS|{delimiters}|{_SENDER}||||{when}", f"BHS|{delimiters}|{_SENDER}||||{when}"]
    messages = [_message(study, device, when) for study in studies]
    lines = [*head, *(line for message in messages for line in message), f"BTS|{len(messages)}", "FTS|1"]
    return "".join(f"{line}\r" for line in lines)


def _message(study: StudyResults, device: DeviceFacts, when: str) -> list[str]:
    tags = study.tags
    born = day(str(tags.PatientBirthDate))
    control = study.uid(device).rpartition(".")[2][:20]
    processing = _PRODUCTION if device.authorisation else _TRAINING
    lines = [
        f"MSH|^~\\&|{_SENDER}||||{when}||ORU^R01^ORU_R01|{control}|{processing}|2.5.1||||||UNICODE UTF-8",
        _segment("PID", "1", "", _identifier(tags), "", _name(str(tags.PatientName)), "", born, str(tags.PatientSex)),
    ]
    for number, film in enumerate(study.films, start=1):
        lines += _film(film, number, study, device, when)
    return lines


def _film(film: IdentifiedFilm, number: int, study: StudyResults, device: DeviceFacts, when: str) -> list[str]:
    tags, entry, result = film.source.dataset, film.entry, film.entry.result
    order = ["", str(number), "", f"{study.uid(device, film.source.uid).rpartition('.')[2][:12]}^{_SENDER}"]
    date = day(str(tags.StudyDate))
    order += [_coded(CHEST_XRAY), "", "", f"{date}{tags.StudyTime[:6]}" if date else ""]
    order += [""] * 10 + [_text(str(tags.AccessionNumber)), "", "", "", when, "", "RAD", _PRELIMINARY]
    notes = [device.mark, PRELIMINARY, *device_lines(device, result), f"{entry.group}: {GROUPS[entry.group]}."]
    notes += [f"Not assessed: {reason}" for reason in result.reasons]
    notes += [*map(tested_line, device.tested), *caution_lines(device, result)]
    made_by = (_text(f"{device.name} {device.version}"), f"{_text(device.fingerprint)}^{_SENDER}")
    seen = _Observations(f"{number}", when, made_by)
    seen.add("HD", _STUDY, f"^{film.source.study}^ISO")
    seen.add("HD", _FILM, f"^{film.source.uid}^ISO")
    seen.add("NM", _RANK, str(entry.rank))
    seen.add("ST", _GROUP, _text(entry.group))
    names = [each.finding for each in result.findings] or [each.finding for each in device.tested]
    scores = {each.finding: each for each in result.findings}
    for at, name in enumerate(names, start=1):
        seen.of_finding(f"{number}.{at}", name, scores.get(name))
    return ["|".join(["OBR", *order[1:]]), *_notes(notes), *seen.lines]


class _Observations:
    """The OBX segments of a film, numbered as they come."""

    def __init__(self, film: str, when: str, made_by: tuple[str, str]) -> None:
        self.lines: list[str] = []
        self._film, self._when, self._made_by = film, when, made_by

    def of_finding(self, group: str, name: str, scored: ScoredFinding | None) -> None:
        """Adds a finding: whether it is there, its score and threshold; or that it was not assessed."""
        coded = finding_code(name)
        code = _coded(coded.code) + ("" if coded.code.scheme == OWN else f"^{_text(name)}^{_text(name)}^{OWN}")
        if scored is None:
            self.add("CE", code, _coded(NOT_ASSESSED), group, status=_NOT_OBTAINED)
            return
        flag = _FLAGS.get(suspicion(scored), "")
        self.add("CE", code, _coded(CALL_CODES[scored.call]), group, flag=flag)
        expected = f"<{_number(scored.threshold)}"
        self.add("NM", SCORE, _number(scored.score), group, units="1^no units^UCUM", expected=expected, flag=flag)
        self.add("NM", THRESHOLD, _number(scored.threshold), group, units="1^no units^UCUM")

    def add(
        self, kind: str, code: CodeTriplet | str, value: str, group: str = "", *, units: str = "", expected: str = "",
        flag: str = "", status: str = _PRELIMINARY,
    ) -> None:  # fmt: skip
        """Adds an observation; `value` and a code that is a text are escaped already."""
        named = code if isinstance(code, str) else _coded(code)
        fields = ["OBX", str(len(self.lines) + 1), kind, named, group or self._film, value, units, expected, flag, "",
                  "", status, "", "", "", "", "", *self._made_by, self._when]  # fmt: skip
        self.lines.append("|".join(fields))


def _notes(texts: Iterable[str]) -> list[str]:
    return [_segment("NTE", str(number), "L", _text(text)) for number, text in enumerate(texts, start=1)]


def _segment(name: str, *fields: str) -> str:
    return "|".join((name, *fields)).rstrip("|")


def _text(text: str) -> str:
    """Returns a text as a field, component or subcomponent can hold it."""
    return _UNSEEN.sub("", _LINES.sub(" ", text).translate(_ESCAPES))


def _coded(code: CodeTriplet) -> str:
    return "^".join(map(_text, (code.value, code.meaning, code.scheme)))


def _identifier(tags: "Dataset") -> str:
    return f"{_text(str(tags.PatientID))}^^^{_text(str(tags.get('IssuerOfPatientID', '')))}".rstrip("^")


def _name(name: str) -> str:
    """Returns DICOM's name as HL7's: its first way of writing; prefix and suffix change places."""
    parts = [_text(part) for part in (name.split("=")[0].split("^") + [""] * 5)[:5]]
    family, given, middle, prefix, suffix = parts
    # A name has to be there: "U" says that it is not known.
    return "^".join((family, given, middle, suffix, prefix)).rstrip("^") or "^^^^^^U"


def _instant(time: datetime) -> str:
    return time.strftime("%Y%m%d%H%M%S%z")


def _number(value: float) -> str:
    return f"{round(value, _DIGITS):.{_DIGITS}f}".rstrip("0").rstrip(".")
