import time

from pydicom.dataset import Dataset

from chexkeras.node.audit_log import AuditLog
from chexkeras.node.commitment import INSTANCE_UID, NO_SUCH_OBJECT, NOT_COMMITTED
from chexkeras.node.metrics import Metrics
from chexkeras.node.sender import Sender
from chexkeras.node.spool import Spool
from tests.node.hostile import data_set_of

MODEL, DX, EXPLICIT = "1.2.840.10008.1.20.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.1.2.1"


def request(*uids):
    made = Dataset()
    made.TransactionUID, made.ReferencedSOPSequence = "1.2.3.4.5", []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = DX, uid
        made.ReferencedSOPSequence.append(item)
    return made


def reported(listening, calling, films, settings, *, action=1, content=None, instance=INSTANCE_UID):
    """Returns the answer to a request for two films, one of which was sent before, and the reports that came."""
    from pynetdicom import evt

    receiver, reports = listening(settings), []

    def take(event):
        reports.append((event.event_type, event.event_information))
        return 0x0000, None

    association = calling(receiver.port, (DX, [EXPLICIT]), (MODEL, None),
                          evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)])  # fmt: skip
    assert association.send_c_store(films[0]).Status == 0x0000
    uid = data_set_of(films[0])[0].decode()
    answer, _ = association.send_n_action(content or request(uid, "1.2.3"), action, MODEL, instance)
    ends = time.monotonic() + 5
    while answer.Status == 0 and not reports and time.monotonic() < ends:
        time.sleep(0.02)
    return answer.Status, reports, uid


def test_node_that_removes_films_commits_itself_to_none(listening, calling, films, told):
    status, ((event, content),), uid = reported(listening, calling, films, told())
    assert (status, event, content.TransactionUID) == (0, 2, "1.2.3.4.5")
    assert "ReferencedSOPSequence" not in content
    failed = {item.ReferencedSOPInstanceUID: item.FailureReason for item in content.FailedSOPSequence}
    assert failed == {uid: NOT_COMMITTED, "1.2.3": NO_SUCH_OBJECT}


def test_node_that_keeps_films_commits_itself_to_those_it_has(listening, calling, films, told):
    status, ((event, content),), uid = reported(listening, calling, films, told(keep_originals=True))
    assert (status, event) == (0, 2)
    assert [item.ReferencedSOPInstanceUID for item in content.ReferencedSOPSequence] == [uid]
    assert [item.ReferencedSOPInstanceUID for item in content.FailedSOPSequence] == ["1.2.3"]


def test_request_that_is_none_is_refused(listening, calling, films, told):
    assert reported(listening, calling, films, told(), action=2)[0] == 0x0123


def test_request_for_another_instance_is_refused(listening, calling, films, told):
    assert reported(listening, calling, films, told(), instance="1.2.3")[0] == 0x0112


def test_request_without_films_is_refused(listening, calling, films, told):
    assert reported(listening, calling, films, told(), content=request())[0] == 0x0115


def test_report_to_the_peer_goes_over_an_association_of_its_own(listening, calling, films, told, peer):
    settings = told(peer.port)
    spool = Spool(settings.spool.with_name("other"), settings.limits)
    log = AuditLog(spool.folder)
    sender = Sender(settings, spool, Metrics(), log)
    receiver = listening(settings, sender.associate)
    association = calling(receiver.port, (MODEL, None), caller="ORTHANC")
    assert association.send_n_action(request("1.2.3"), 1, MODEL, INSTANCE_UID)[0].Status == 0
    # As most senders do, it does not wait on the association that it asked over.
    association.release()
    ends = time.monotonic() + 5
    while not peer.reports and time.monotonic() < ends:
        time.sleep(0.02)
    ((event, content),) = peer.reports
    assert event == 2 and content.FailedSOPSequence[0].FailureReason == NO_SUCH_OBJECT
    log.close()
    spool.close()
