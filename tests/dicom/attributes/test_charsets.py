import contextlib

import pytest

from chexkeras.dicom.attributes.charsets import letters, readings
from chexkeras.dicom.attributes.descriptions import names_chest, names_other_view, plain, words_of


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        *(("胸部側面", encoding) for encoding in ("utf-8", "shift_jis", "euc_jp", "iso2022_jp", "gb18030", "big5")),
        *(("胸部侧位", encoding) for encoding in ("utf-8", "gb18030")),
        *(("흉부 측면", encoding) for encoding in ("utf-8", "euc_kr")),
        *(("ГРУДЬ БОКОВАЯ", encoding) for encoding in ("utf-8", "cp1251", "iso8859_5", "koi8_r")),
        *(("PŁUCA BOCZNE", encoding) for encoding in ("utf-8", "cp1250", "iso8859_2")),
        *(("TÓRAX PERFIL", encoding) for encoding in ("utf-8", "latin-1", "cp850")),
        *(("GÖĞÜS LATERAL", encoding) for encoding in ("utf-8", "iso8859_9")),
        *(("ΘΩΡΑΚΑΣ ΠΛΑΓΙΑ", encoding) for encoding in ("utf-8", "cp1253")),
    ],
)
def test_words_are_known_whatever_their_character_set_was_taken_for(text, encoding):
    stored = text.encode(encoding)
    taken = [stored.decode("latin-1")]
    with contextlib.suppress(UnicodeError):
        taken.append(stored.decode("cp1252"))
    for read in map(words_of, taken):
        assert names_chest(read) and names_other_view(read)


def test_a_korean_set_that_is_announced_is_read():
    assert plain("\x1b$)C" + "흉부".encode("euc_kr").decode("latin-1")) == "흉부"


@pytest.mark.parametrize(
    "damaged", ["T?RAX", "T\ufffdRAX", "T??RAX", "TRAX", "T RAX", "TO?RAX", "TàRAX", "TÃ\x93RAX", "TÃ“RAX"]
)
def test_a_lost_letter_of_torax_is_put_back(damaged):
    assert words_of(damaged) == "TORAX"


@pytest.mark.parametrize("text", ["Müller", "Ñandú", "Señora", "90°", "naïve", "São", "Ærø", "é", "Ÿ", "€"])
def test_latin_text_without_a_known_word_stays_as_it_is(text):
    assert plain(text) == plain(letters(text))


def test_letters_of_one_sound_compare_equal():
    assert letters("Łódź ø ＰＡ ｶﾅ") == "LODZ O PA カナ"
    assert letters("측면") == "측면"


def test_plain_text_is_read_once():
    assert readings("CHEST PA") == ["CHEST PA"]
    assert readings("胸部") == ["胸部"]
