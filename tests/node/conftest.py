"""A spool, a receiver and a peer on free ports of this machine's own address."""

import contextlib
import subprocess
import threading

import pytest

pytest.importorskip("pynetdicom")
pytest.importorskip("highdicom")

CALLER, NODE, ARCHIVE = "BENCH", "CHEXKERAS", "ORTHANC"


class Peer:
    """An archive: keeps what it is offered, answers as it is told, and can be asked what it has."""

    def __init__(self):
        from pynetdicom import AE, evt, sop_class

        self.offered, self.answer, self.held, self.before_answer = [], 0x0000, {}, None
        self.reports = []
        self.entity = AE(ARCHIVE)
        for each in (sop_class.ComprehensiveSRStorage, sop_class.SecondaryCaptureImageStorage,
                     sop_class.GrayscaleSoftcopyPresentationStateStorage,
                     sop_class.StudyRootQueryRetrieveInformationModelFind):  # fmt: skip
            self.entity.add_supported_context(each)
        self.entity.add_supported_context(sop_class.StorageCommitmentPushModel, scu_role=True, scp_role=True)
        self.handlers = [(evt.EVT_C_STORE, self.take), (evt.EVT_C_FIND, self.find),
                         (evt.EVT_N_EVENT_REPORT, self.reported)]  # fmt: skip
        self.server = self.port = None

    def start(self, port=0, tls=None):
        self.server = self.entity.start_server(("127.0.0.1", port), block=False, evt_handlers=self.handlers,
                                               ssl_context=tls)  # fmt: skip
        self.port = self.server.server_address[1]
        return self

    def stop(self):
        if self.server is not None:
            self.server.shutdown()
            for association in self.server.active_associations:
                association.abort()
            self.server = None

    def take(self, event):
        uid = event.request.AffectedSOPInstanceUID
        self.offered.append(str(uid))
        answer = self.answer(str(uid)) if callable(self.answer) else self.answer
        if answer in (0x0000, 0xB000):
            self.held[str(uid)] = event.dataset
        if self.before_answer is not None:
            self.before_answer(event)
        return answer

    def find(self, event):
        found = self.held.get(str(event.identifier.SOPInstanceUID))
        if found is not None:
            from pydicom.dataset import Dataset

            told = Dataset()
            told.SOPInstanceUID = found.SOPInstanceUID
            yield 0xFF00, told
        yield 0x0000, None

    def reported(self, event):
        self.reports.append((event.event_type, event.event_information))
        return 0x0000, None


@pytest.fixture
def peer():
    made = Peer().start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def films(made_once):
    """Six phantoms as DICOM files, each a study of its own."""
    from chexkeras.phantoms.cohort import make_cohort
    from chexkeras.phantoms.dicom import write_dicom_image
    from chexkeras.phantoms.render import render

    def make(folder):
        folder.mkdir()
        adults = [image for image in make_cohort(20, 5) if image.age_years >= 18][:6]
        for index, image in enumerate(adults):
            write_dicom_image(folder / f"{index}.dcm", image, render(image, 5, 256)[0], 5)

    return sorted(made_once("node_films", make).iterdir())


@pytest.fixture
def told(tmp_path):
    """Returns settings for a node on free ports."""
    from chexkeras.node.settings import NodeLimits, NodeSettings

    def make(peer_port=1, limits=None, **values):
        limits = NodeLimits(**{"free_bytes": 0, "longest_pause_seconds": 0.2, **(limits or {})})
        return NodeSettings(NODE, f"{ARCHIVE}@127.0.0.1:{peer_port}", tmp_path / "spool", (CALLER, ARCHIVE),
                            port=0, metrics_port=0, limits=limits, **values)  # fmt: skip

    return make


@pytest.fixture
def listening(told):
    """Returns a receiver that listens, with its spool and metrics."""
    from chexkeras.node.metrics import Metrics
    from chexkeras.node.receiver import Receiver
    from chexkeras.node.spool import Spool

    with contextlib.ExitStack() as made:

        def make(settings=None, associate=lambda _: None):
            settings = settings or told()
            spool = Spool(settings.spool, settings.limits, keep_originals=settings.keep_originals)
            made.callback(spool.close)
            receiver = Receiver(settings, spool, Metrics(), associate)
            made.callback(receiver.close)
            receiver.start()
            receiver.spool, receiver.metrics = spool, receiver._metrics
            return receiver

        yield make


@pytest.fixture(autouse=True)
def quiet_network_threads(monkeypatch):
    """What a hostile caller does to a thread of the network library is no matter for the terminal."""
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: seen.append(arguments.exc_type))
    return seen


def settled(association, send):
    from chexkeras.node.network import settle

    def wrapped(*arguments, **options):
        settle(association)
        return send(*arguments, **options)

    return wrapped


@pytest.fixture
def calling():
    """Returns an open association to a node, as a scanner or an archive would have it."""
    from pynetdicom import AE

    with contextlib.ExitStack() as made:

        def make(port, *contexts, caller=CALLER, called=NODE, **options):
            entity = AE(caller)
            for of, syntaxes in contexts or [("1.2.840.10008.1.1", None)]:
                entity.add_requested_context(of, syntaxes) if syntaxes else entity.add_requested_context(of)
            entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
            association = entity.associate("127.0.0.1", port, ae_title=called, **options)
            made.callback(lambda: association.release() if association.is_established else None)
            for name in ("send_c_store", "send_c_echo", "send_n_action"):
                setattr(association, name, settled(association, getattr(association, name)))
            return association

        yield make


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    if subprocess.run(["openssl", "version"], capture_output=True, check=False).returncode:
        pytest.skip("openssl is not installed")

    def run(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "other"):
        run("req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem",
            "-days", "3650", "-subj", f"/CN={name}")  # fmt: skip
    for name, by in (("node", "ca"), ("caller", "ca"), ("stranger", "other")):
        run("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr",
            "-subj", f"/CN={name}")  # fmt: skip
        (folder / "names.txt").write_text("subjectAltName=IP:127.0.0.1")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial",
            "-out", f"{name}.pem", "-days", "3650", "-extfile", "names.txt")  # fmt: skip
    return folder
