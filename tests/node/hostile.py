"""What a hostile caller sends: associations and objects, right at first, then changed at random from a seed."""

import collections
import random
import socket
import struct
import threading

VERIFICATION, DX = b"1.2.840.10008.1.1", b"1.2.840.10008.5.1.4.1.1.1.1"
EXPLICIT, IMPLICIT = b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2"
ECHO_CONTEXT, STORE_CONTEXT = 1, 3
LAST, COMMAND = 2, 1


def item(kind, content):
    return struct.pack(">BBH", kind, 0, len(content)) + content


def pdu(kind, content):
    return struct.pack(">BBI", kind, 0, len(content)) + content


def associate(caller, called, most=16_384):
    """Returns an A-ASSOCIATE-RQ (PS3.8 9.3.2) for C-ECHO and for digital X-ray images."""
    contexts = b"".join(
        item(0x20, bytes((number, 0, 0, 0)) + item(0x30, of) + b"".join(item(0x40, syntax) for syntax in syntaxes))
        for number, of, syntaxes in (
            (ECHO_CONTEXT, VERIFICATION, [IMPLICIT]), (STORE_CONTEXT, DX, [EXPLICIT]),
        )
    )  # fmt: skip
    user = item(0x50, item(0x51, struct.pack(">I", most)) + item(0x52, b"1.2.3.4") + item(0x55, b"HOSTILE"))
    titles = called.encode().ljust(16) + caller.encode().ljust(16)
    return pdu(1, b"\x00\x01\x00\x00" + titles + bytes(32) + item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + user)


def fragment(context, control, content):
    return struct.pack(">IBB", len(content) + 2, context, control) + content


def command(**values):
    """Returns a command set (PS3.7 6.3.1), implicit little endian."""
    numbers = {"sop_class": 0x0002, "field": 0x0100, "message": 0x0110, "priority": 0x0700, "data": 0x0800,
               "instance": 0x1000}  # fmt: skip
    body = b""
    for name, number in numbers.items():
        if name in values:
            value = values[name]
            content = struct.pack("<H", value) if isinstance(value, int) else value + b"\x00" * (len(value) % 2)
            body += struct.pack("<HHI", 0, number, len(content)) + content
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def echo(message=1):
    asked = command(sop_class=VERIFICATION, field=0x0030, message=message, data=0x0101)
    return pdu(4, fragment(ECHO_CONTEXT, COMMAND | LAST, asked))


def store(uid, data, message=1, size=16_000):
    """Returns the PDUs of a C-STORE request."""
    asked = command(sop_class=DX, field=0x0001, message=message, priority=0, data=0x0001, instance=uid)
    pieces = [data[start : start + size] for start in range(0, len(data), size)] or [b""]
    controls = [0] * (len(pieces) - 1) + [LAST]
    parts = [fragment(STORE_CONTEXT, COMMAND | LAST, asked)]
    parts += [fragment(STORE_CONTEXT, control, piece) for control, piece in zip(controls, pieces, strict=True)]
    return [pdu(4, part) for part in parts]


def data_set_of(path):
    """Returns the UID and the encoded data set of a DICOM file."""
    from pydicom import dcmread

    with open(path, "rb") as handle:
        meta = dcmread(handle, specific_tags=[], stop_before_pixels=True).file_meta
    content = path.read_bytes()
    return meta.MediaStorageSOPInstanceUID.encode(), content[144 + meta.FileMetaInformationGroupLength :]


def mutated(rng, content, most=8):
    """Returns bytes with a few of them changed, cut out, doubled or put in."""
    held = bytearray(content)
    for _ in range(rng.randint(1, most)):
        place = rng.randrange(len(held) + 1)
        kind = rng.randrange(5)
        if kind == 0 and place < len(held):
            held[place] = rng.randrange(256)
        elif kind == 1:
            del held[place : place + rng.choice((1, 2, 4, 16, 256))]
        elif kind == 2:
            held[place:place] = held[place : place + rng.choice((1, 4, 64))]
        elif kind == 3:
            held[place:place] = rng.randbytes(rng.choice((1, 2, 4, 32)))
        elif place + 4 <= len(held):
            held[place : place + 4] = rng.choice((b"\xff\xff\xff\xff", bytes(4), b"\x00\x00\x00\x80"))
    return bytes(held)


def attacks(rng, uid, data, caller, called):
    """Returns the name of an attack and what it sends: pieces, before each of which an answer is waited for or not."""
    right = associate(caller, called)
    # The header is what parsers read; the pixels are in the way of the number of attacks.
    own = (uid[:40] + b".%d" % rng.randrange(10**9))[:64]
    asked = store(own, data)
    hostile = (b"../../etc/passwd", b"1.2/../..", b"", b"\x00" * 8, b"1." * 40, b"..")
    end = pdu(5, bytes(4))
    kinds = {
        "garbage": lambda: [rng.randbytes(rng.choice((1, 5, 6, 7, 100, 4_000)))],
        "mutated association": lambda: [mutated(rng, right), echo()],
        "length that lies": lambda: [right[:2] + struct.pack(">I", rng.choice((0, 3, 2**31, 2**32 - 1))) + right[6:]],
        "unknown PDU": lambda: [right, bytes((rng.randrange(8, 256), 0)) + struct.pack(">I", 4) + bytes(4)],
        "data before the association": lambda: [echo(), right],
        "answers instead of requests": lambda: [pdu(rng.choice((2, 3, 6)), rng.randbytes(rng.choice((4, 200))))],
        "unknown caller": lambda: [associate("STRANGER", called), echo()],
        "other title called": lambda: [associate(caller, "SOMEBODY"), echo()],
        "mutated echo": lambda: [right, mutated(rng, echo())],
        "mutated command": lambda: [right, mutated(rng, asked[0]) + b"".join(asked[1:])],
        "mutated object": lambda: [
            right, b"".join(store(own, mutated(rng, data[:2_000], 4) + data[2_000:])), end,
        ],
        "object cut short": lambda: [right, b"".join(store(own, data[: rng.randrange(len(data))])), end],
        "random object": lambda: [right, b"".join(store(own, rng.randbytes(rng.randrange(1, 20_000))))],
        "half an association": lambda: [right, b"".join(asked)[: rng.randrange(1, len(data))]],
        "fragment longer than its PDU": lambda: [
            right, pdu(4, struct.pack(">IBB", rng.choice((1, 2, 2**31, 2**32 - 1)), 3, rng.randrange(4)) + bytes(20)),
        ],
        "empty fragments": lambda: [right, pdu(4, fragment(3, rng.randrange(4), b"") * rng.randrange(1, 50))],
        "unknown context": lambda: [right, pdu(4, fragment(rng.randrange(5, 256), 3, command(field=0x30, message=1)))],
        "requests without waiting": lambda: [right, b"".join(echo(number) for number in range(200))],
        "data set without a command": lambda: [right, pdu(4, fragment(3, LAST, data[:4_000]))],
        "hostile UID": lambda: [
            right, b"".join(store(rng.choice(hostile), data)),
        ],
    }  # fmt: skip
    name = rng.choice(sorted(kinds))
    return name, kinds[name]()


def strike(port, pieces, seconds=2.0):
    """Sends the pieces, reads what comes between them, and tells how it ended: one word."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=seconds) as to:
            for index, piece in enumerate(pieces):
                to.sendall(piece)
                if index + 1 < len(pieces):
                    to.settimeout(seconds)
                    if not to.recv(65_536):
                        return "closed"
            to.settimeout(0.05)
            try:
                return "answered" if to.recv(65_536) else "closed"
            except TimeoutError:
                return "silent"
    except TimeoutError:
        return "silent"
    except OSError:
        return "closed"


def attack(port, films, count, *, caller, called, look=lambda _: None, threads=3, seed=11):
    """Attacks from some threads, and looks at the node every two hundredth time; returns how attacks ended, by kind."""
    sources = [data_set_of(path) for path in films[:20]]
    outcomes, lock, left = collections.Counter(), threading.Lock(), iter(range(count))

    def work(own):
        while True:
            with lock:
                number = next(left, None)
            if number is None:
                return
            rng = random.Random(f"{own} {number}")
            name, pieces = attacks(rng, *rng.choice(sources), caller, called)
            ended = strike(port, pieces)
            with lock:
                outcomes[f"{name}: {ended}"] += 1
            if number % 200 == 199:
                look(number + 1)

    workers = [threading.Thread(target=work, args=(seed,), daemon=True) for _ in range(threads)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    return outcomes
