from pathlib import Path

import pytest

from chexkeras.checks import is_loopback
from chexkeras.dicom.workers.options import ReadOptions
from chexkeras.node.settings import NodeLimits, NodeSettings, peer_of


def made(**values):
    usual = {"title": "CHEXKERAS", "peer": "PACS@127.0.0.1:104", "spool": Path("spool"), "allow": ("PACS",)}
    return NodeSettings(**{**usual, **values})


@pytest.mark.parametrize(
    "values, words",
    [
        ({"title": ""}, "--aet"),
        ({"title": "A" * 17}, "16 characters"),
        ({"title": "A\\B"}, "backslash"),
        ({"title": "Ä"}, "ASCII"),
        ({"title": "A\nB"}, "--aet"),
        ({"allow": ()}, "--allow TITLE"),
        ({"allow": ("",)}, "--allow"),
        ({"port": 70_000}, "--port 70000"),
        ({"metrics_port": -5}, "--metrics-port"),
        ({"refused": "maybe"}, "refused"),
        ({"read_options": ReadOptions(workers=0)}, "protection"),
        ({"peer": "PACS"}, "TITLE@HOST:PORT"),
        ({"peer": "PACS@host:0"}, "TITLE@HOST:PORT"),
        ({"peer": "PACS@host:x"}, "TITLE@HOST:PORT"),
        ({"peer": "@host:104"}, "TITLE@HOST:PORT|title"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(values, words):
    with pytest.raises(ValueError, match=words) as caught:
        made(**values)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("name", ["object_bytes", "associations", "waiting", "tries", "attempts", "pdu_seconds",
                                  "idle_seconds", "remembered_days"])  # fmt: skip
def test_limits_are_above_nothing(name):
    with pytest.raises(ValueError, match=name):
        NodeLimits(**{name: 0})


def test_peer_may_have_an_address_of_either_kind():
    assert str(peer_of("A B@10.0.0.7:11112")) == "A B@10.0.0.7:11112"
    assert peer_of("PACS@[fe80::1]:104").host == "fe80::1"


def test_only_this_machine_is_loopback():
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "10.0.0.1", "pacs")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    assert is_loopback(made().host)
