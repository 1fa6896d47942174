import io

import pytest

from chexkeras.dicom.workers.worker import receive, send


def _stream(*messages):
    stream = io.BytesIO()
    for header, content in messages:
        send(stream, header, content)
    stream.seek(0)
    return stream


def test_messages_come_as_they_were_sent():
    stream = _stream(({"a": [1, "x", None]}, b"bytes"), ({}, b""), ({"nan": float("nan")}, memoryview(b"view")))
    assert receive(stream, largest=5) == ({"a": [1, "x", None]}, b"bytes")
    assert receive(stream, largest=0) == ({}, b"")
    header, content = receive(stream, largest=4)
    assert header["nan"] != header["nan"] and content == b"view"
    with pytest.raises(EOFError):
        receive(stream, largest=5)


def test_a_message_cut_short_is_the_end():
    content = _stream(({"a": 1}, b"bytes")).getvalue()
    for length in range(len(content)):
        with pytest.raises(EOFError):
            receive(io.BytesIO(content[:length]), largest=5)


def test_no_room_is_made_for_what_is_too_large():
    with pytest.raises(ValueError, match=r"6 bytes; at most 1048576 and 5"):
        receive(_stream(({}, b"123456")), largest=5)
    with pytest.raises(ValueError, match="at most"):
        receive(io.BytesIO(b"\xff" * 12 + b"x"), largest=5)


@pytest.mark.parametrize("text", [b"[1]", b"{", b"\xff\xfe"])
def test_what_is_no_header_is_refused(text):
    stream = io.BytesIO(len(text).to_bytes(4, "little") + bytes(8) + text)
    with pytest.raises(ValueError, match=r"no header|Expecting|decode"):
        receive(stream, largest=5)
