import errno
import os
import random
import socket
import time

import pytest

from chexkeras.dicom.pixels.decoding import COMPRESSED, NATIVE
from chexkeras.node import on_disk
from chexkeras.node import spool as spools
from chexkeras.node.receiver import FILMS, SYNTAXES
from tests.node import hostile

CR, DX = FILMS
RAW = "1.2.840.10008.5.1.4.1.1.1.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"


def wait_for(condition, seconds=10.0):
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, "it did not come"
        time.sleep(0.01)
    return found


def held(receiver):
    return sorted((receiver.spool.folder / "received").iterdir())


def test_echo_is_answered(listening, calling):
    association = calling(listening().port)
    assert association.is_established
    assert association.send_c_echo().Status == 0x0000


def test_unknown_caller_and_other_called_title_are_rejected(listening, calling):
    receiver = listening()
    assert calling(receiver.port, caller="STRANGER").is_rejected
    assert calling(receiver.port, called="SOMEBODY").is_rejected
    assert receiver.metrics.value("associations_rejected", "unknown caller") == 1
    assert receiver.metrics.value("associations_rejected", "other title called") == 1


def test_films_are_offered_in_every_syntax_that_is_decoded_and_raw_values_in_none(listening, calling):
    receiver = listening()
    assert set(SYNTAXES) == NATIVE | COMPRESSED
    for syntax in SYNTAXES:
        association = calling(receiver.port, (CR, [syntax]), (DX, [syntax]), (RAW, [syntax]))
        accepted = {context.abstract_syntax for context in association.accepted_contexts}
        assert accepted == {CR, DX}, syntax
        assert [context.result for context in association.rejected_contexts] == [3]
        association.release()


def test_film_is_on_disk_as_it_came_before_it_is_acknowledged(listening, calling, films):
    from pydicom import dcmread

    receiver = listening()
    association = calling(receiver.port, (DX, [EXPLICIT]))
    assert association.send_c_store(films[0]).Status == 0x0000
    (folder,) = held(receiver)
    uid, data = hostile.data_set_of(films[0])
    assert (folder / "film.dcm").read_bytes().endswith(data)
    kept = dcmread(folder / "film.dcm")
    assert kept.file_meta.MediaStorageSOPInstanceUID == kept.SOPInstanceUID == uid.decode()
    assert kept.file_meta.SourceApplicationEntityTitle == "BENCH"
    assert (folder.stat().st_mode & 0o777, (folder / "film.dcm").stat().st_mode & 0o777) == (0o700, 0o600)
    assert uid.decode() not in str(folder)


def test_file_and_folders_are_synced_before_the_answer(listening, calling, films, monkeypatch):
    receiver, order, sync, rename = listening(), [], os.fsync, os.rename

    def noted(handle):
        order.append(os.readlink(f"/proc/self/fd/{handle}").replace(str(receiver.spool.folder), ""))
        sync(handle)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("the system does not say what a handle is of")
    monkeypatch.setattr(on_disk.os, "fsync", noted)
    monkeypatch.setattr(spools.os, "rename", lambda *paths: (order.append("rename"), rename(*paths)))
    association = calling(receiver.port, (DX, [EXPLICIT]))
    assert association.send_c_store(films[0]).Status == 0x0000
    assert order[0].startswith("/incoming/") and order[0].endswith("/film.dcm")
    assert order[1] == os.path.dirname(order[0])
    assert order[2:] == ["rename", "/received"]


def test_same_film_again_is_acknowledged_and_kept_once(listening, calling, films):
    receiver = listening()
    association = calling(receiver.port, (DX, [EXPLICIT]))
    assert [association.send_c_store(films[0]).Status for _ in range(3)] == [0x0000] * 3
    assert len(held(receiver)) == 1
    assert (receiver.metrics.value("received"), receiver.metrics.value("again")) == (1, 2)


def test_full_disk_is_told_and_leaves_nothing(listening, calling, films, monkeypatch):
    receiver = listening()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    association = calling(receiver.port, (DX, [EXPLICIT]))
    with monkeypatch.context() as patch:
        patch.setattr(spools.os, "fsync", full)
        assert association.send_c_store(films[0]).Status == 0xA700
    assert not held(receiver) and not list((receiver.spool.folder / "incoming").iterdir())
    assert association.send_c_store(films[0]).Status == 0x0000


def test_little_space_is_told_before_anything_is_written(listening, told, calling, films):
    receiver = listening(told(limits={"free_bytes": 2**60}))
    assert calling(receiver.port, (DX, [EXPLICIT])).send_c_store(films[0]).Status == 0xA700
    assert receiver.metrics.value("stores_refused", "disk full") == 1


def test_full_queue_is_told(listening, told, calling, films):
    receiver = listening(told(limits={"waiting": 2}))
    association = calling(receiver.port, (DX, [EXPLICIT]))
    assert [association.send_c_store(film).Status for film in films[:3]] == [0x0000, 0x0000, 0xA700]
    # One that is known is acknowledged even then.
    assert association.send_c_store(films[0]).Status == 0x0000


def test_film_of_another_class_than_its_context_is_refused(listening, films):
    receiver = listening()
    uid, data = hostile.data_set_of(films[0])
    asked = hostile.command(sop_class=CR.encode(), field=1, message=1, priority=0, data=1, instance=uid)
    parts = hostile.fragment(3, 3, asked) + hostile.fragment(3, 2, data[:1000])
    assert status_of(receiver.port, hostile.pdu(4, parts)) == 0xA900


@pytest.mark.parametrize("uid", [b"../../etc/passwd", b"1.2/../../3", b"..", b"1", b"1.2.abc", b"\x00\x00"])
def test_hostile_uid_becomes_no_path(listening, films, uid):
    receiver = listening()
    before = {path for path in receiver.spool.folder.rglob("*")}
    data = hostile.data_set_of(films[0])[1]
    answer = status_of(receiver.port, b"".join(hostile.store(uid, data[:1000])))
    assert answer in (0xC000, None)
    assert {path for path in receiver.spool.folder.rglob("*")} == before


def status_of(port, request):
    """Returns the status that a request is answered with, None where the connection is closed instead."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as to:
        to.sendall(hostile.associate("BENCH", "CHEXKERAS"))
        assert to.recv(65_536)[0] == 2
        to.sendall(request)
        to.settimeout(3)
        try:
            answer = to.recv(65_536)
        except TimeoutError:
            # pynetdicom leaves a request without a UID unanswered.
            return None
    place = answer.find(b"\x00\x00\x00\x09\x02\x00\x00\x00")
    return int.from_bytes(answer[place + 8 : place + 10], "little") if place >= 0 else None


def test_half_an_association_leaves_nothing_and_holds_up_nobody(listening, calling, films):
    receiver = listening()
    uid, data = hostile.data_set_of(films[0])
    for share in (0.1, 0.5, 0.99):
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as to:
            to.sendall(hostile.associate("BENCH", "CHEXKERAS"))
            to.recv(65_536)
            whole = b"".join(hostile.store(uid, data))
            to.sendall(whole[: int(share * len(whole))])
    association = calling(receiver.port, (DX, [EXPLICIT]))
    assert not held(receiver) and not list((receiver.spool.folder / "incoming").iterdir())
    assert association.send_c_store(films[0]).Status == 0x0000


def test_slow_caller_is_cut_off_while_others_are_answered(listening, told, calling):
    receiver = listening(told(limits={"pdu_seconds": 0.5}))
    request = hostile.associate("BENCH", "CHEXKERAS")
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as slow:
        slow.sendall(request[:20])
        assert calling(receiver.port).send_c_echo().Status == 0x0000
        wait_for(lambda: receiver.metrics.value("connections_cut", "too slow"))
        # Either the abort's ten bytes come first, or the end of the connection does.
        assert slow.recv(10) in (b"", b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x06")


def test_caller_who_sends_a_byte_at_a_time_gains_no_time(listening, told):
    receiver = listening(told(limits={"pdu_seconds": 0.5}))
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as slow:
        request, start = hostile.associate("BENCH", "CHEXKERAS"), time.monotonic()
        with pytest.raises(OSError):
            for byte in request:
                slow.sendall(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - start < 0.05 * len(request)
    wait_for(lambda: receiver.metrics.value("connections_cut", "too slow"))


def test_silent_connections_do_not_keep_honest_callers_out(listening, told, calling):
    receiver = listening(told(limits={"pdu_seconds": 1.0, "associations": 2}))
    idle = [socket.create_connection(("127.0.0.1", receiver.port), timeout=10) for _ in range(30)]
    wait_for(lambda: receiver.metrics.value("connections_cut", "too many connections"))
    answered = wait_for(lambda: calling(receiver.port).is_established)
    assert answered
    for each in idle:
        each.close()


def test_connection_that_ends_before_its_association_gives_its_place_back_at_once(listening, calling):
    receiver = listening()
    for content in (b"garbage, and more of it", hostile.echo(), hostile.associate("BENCH", "CHEXKERAS")[:50], b"") * 6:
        hostile.strike(receiver.port, [content])
    # Far sooner than the time that a caller has to ask for an association.
    wait_for(lambda: not receiver._server.active_associations, 5.0)
    assert calling(receiver.port).send_c_echo().Status == 0x0000


def test_more_associations_than_allowed_are_rejected(listening, told, calling):
    receiver = listening(told(limits={"associations": 2}))
    first = [calling(receiver.port) for _ in range(2)]
    assert calling(receiver.port).is_rejected
    assert receiver.metrics.value("associations_rejected", "too many associations") == 1
    first[0].release()
    wait_for(lambda: calling(receiver.port).is_established)


def test_larger_film_than_allowed_is_cut_off(listening, told, calling, films):
    receiver = listening(told(limits={"object_bytes": 10_000}))
    association = calling(receiver.port, (DX, [EXPLICIT]))
    assert not association.send_c_store(films[0])
    assert receiver.metrics.value("connections_cut", "object too large") == 1
    assert not held(receiver)


@pytest.mark.parametrize("seed", range(2))
def test_mutated_associations_and_objects_leave_the_node_answering(listening, told, calling, films, seed):
    receiver = listening(told(limits={"pdu_seconds": 2.0, "waiting": 10_000}))
    outcomes = hostile.attack(receiver.port, films, 100, caller="BENCH", called="CHEXKERAS", seed=seed)
    assert sum(outcomes.values()) == 100
    association = wait_for(lambda: (made := calling(receiver.port, (DX, [EXPLICIT]))).is_established and made)
    assert association.send_c_store(films[1]).Status == 0x0000
    strange = [path for path in receiver.spool.folder.rglob("*") if not path.is_relative_to(receiver.spool.folder)]
    assert not strange
    assert all(len(folder.name) == 32 for folder in held(receiver))
    wait_for(lambda: receiver._server._budget.used == 0, 20)


def test_attacks_are_the_same_for_a_seed():
    made = [hostile.attacks(random.Random(3), b"1.2.3", bytes(5_000), "A", "B") for _ in range(2)]
    assert made[0] == made[1]


class TestTls:
    def context(self, folder, name=None):
        import ssl

        made = ssl.create_default_context(cafile=folder / "ca.pem")
        if name:
            made.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
        return made

    def test_caller_needs_a_certificate_of_the_authority(self, certificates, listening, told, calling, films):
        from chexkeras.node.settings import Tls

        tls = Tls(*(certificates / name for name in ("node.pem", "node.key", "ca.pem")))
        receiver = listening(told(tls=tls))
        known = calling(receiver.port, (DX, [EXPLICIT]), tls_args=(self.context(certificates, "caller"), "127.0.0.1"))
        assert known.send_c_store(films[0]).Status == 0x0000
        for name in ("stranger", None):
            other = calling(receiver.port, tls_args=(self.context(certificates, name), "127.0.0.1"))
            assert not other.is_established
        assert not calling(receiver.port).is_established

    def test_handshake_that_never_comes_holds_up_nobody(self, certificates, listening, told, calling):
        from chexkeras.node.settings import Tls

        tls = Tls(*(certificates / name for name in ("node.pem", "node.key", "ca.pem")))
        receiver = listening(told(tls=tls, limits={"pdu_seconds": 1.0}))
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as silent:
            silent.sendall(b"\x16\x03\x01")
            association = calling(receiver.port, tls_args=(self.context(certificates, "caller"), "127.0.0.1"))
            assert association.send_c_echo().Status == 0x0000

    def test_files_that_do_not_belong_together_are_refused_in_a_sentence(self, certificates, told, listening):
        from chexkeras.node.settings import Tls

        for names in (("node.pem", "caller.key", "ca.pem"), ("node.key", "node.key", "ca.pem")):
            with pytest.raises(ValueError, match="belong together"):
                Tls(*(certificates / name for name in names)).server_context()
        with pytest.raises(FileNotFoundError, match="--tls-ca"):
            Tls(certificates / "node.pem", certificates / "node.key", certificates / "none.pem").server_context()
