"""Identifiers that follow from what they name."""

import uuid

from chexkeras.dicom.objects.uids import derived_uid


def test_a_derived_uid_is_a_uuid_of_version_8_as_the_standard_writes_it():
    for part in map(str, range(200)):
        uid = derived_uid("run", part)
        assert uid.startswith("2.25.") and len(uid) <= 64
        made = uuid.UUID(int=int(uid.removeprefix("2.25.")))
        assert (made.version, made.variant) == (8, uuid.RFC_4122)


def test_parts_are_kept_apart_and_their_order_counts():
    uids = {derived_uid(*parts) for parts in (("a", "b"), ("ab",), ("b", "a"), ("a", "b", ""), ("", "a", "b"))}
    assert len(uids) == 5


def test_it_is_the_same_on_every_machine():
    assert derived_uid("run", "film") == derived_uid("run", "film")
    assert derived_uid() != derived_uid("")
