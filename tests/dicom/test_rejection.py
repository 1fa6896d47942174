import pickle

import pytest

from chexkeras.dicom.gate import check_header, require
from chexkeras.dicom.rejection import DicomRejected
from tests.dicom.dicom_images import image, ramp


def test_a_rejection_survives_the_way_back_from_a_worker_process():
    with pytest.raises(DicomRejected) as caught:
        require(check_header(image(ramp(), Modality="CT"), 200_000))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.code, copy.violations, str(copy)) == ("modality", caught.value.violations, str(caught.value))


def test_a_rejection_needs_a_reason():
    with pytest.raises(ValueError, match="at least one violation"):
        DicomRejected(())
