"""A film in each transfer syntax, over the network to the spool and through the gate: the same pixels as its file."""

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset

from chexkeras.dicom.read import read_image
from chexkeras.node.receiver import SYNTAXES
from tests.dicom.encoders import ENCODERS, compressed

UNCOMPRESSED = (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian)


def in_syntax(path, syntax, to):
    data = dcmread(path)
    if syntax in UNCOMPRESSED:
        made = Dataset()
        for element in data:
            made.add(element)
        made.file_meta = data.file_meta
        made.file_meta.TransferSyntaxUID = syntax
        made.save_as(to, enforce_file_format=True)
        return to
    made = compressed(data, syntax, ENCODERS[syntax][0])
    made.save_as(to, enforce_file_format=True)
    return to


@pytest.mark.parametrize("syntax", [*UNCOMPRESSED, *ENCODERS], ids=lambda syntax: uid.UID(syntax).keyword)
def test_film_of_each_syntax_is_read_from_the_spool_as_from_its_file(listening, calling, films, tmp_path, syntax):
    assert syntax in SYNTAXES
    path = in_syntax(films[0], syntax, tmp_path / "film.dcm")
    receiver = listening()
    association = calling(receiver.port, ("1.2.840.10008.5.1.4.1.1.1.1", [syntax]))
    assert association.send_c_store(path).Status == 0x0000
    (folder,) = (receiver.spool.folder / "received").iterdir()
    assert dcmread(folder / "film.dcm", stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    kept, sent = read_image(folder / "film.dcm"), read_image(path)
    np.testing.assert_array_equal(kept.pixels, sent.pixels)
    assert (kept.view, kept.age_years, kept.decoder) == (sent.view, sent.age_years, sent.decoder)
