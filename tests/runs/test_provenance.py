"""What made an artefact is recorded in a form that can be read again, whatever is installed."""

import importlib.metadata

import pytest

from chexkeras import provenance
from chexkeras.runs import documents


class _Package(importlib.metadata.PathDistribution):
    """A package whose metadata says what a test wants of its version."""

    def __init__(self, version: str | None) -> None:
        self._said = version

    @property
    def version(self) -> str:
        return self._said  # type: ignore[return-value] - None is what importlib gives where the metadata have none


@pytest.mark.parametrize(
    ("said", "recorded"),
    [("2.9.0.post0", "2.9.0.post0"), (None, "unknown"), ("", "unknown"), ("main", "unknown"), ("1 2", "unknown")],
)
def test_a_package_that_does_not_say_its_version_does_not_spoil_the_run(said, recorded, monkeypatch):
    """A training ended while another program installed a package anew, and could not be loaded."""
    monkeypatch.setattr(provenance, "_needed", lambda: {"python-dateutil": (_Package(said), frozenset())})
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: _Package(said))
    assert provenance.installed() == {"python-dateutil": recorded}
    assert provenance._version("python-dateutil") == recorded
    documents._versions(provenance.installed(), "installed")


def test_what_is_recorded_here_can_be_read_again():
    made = provenance.collect()
    documents._versions(made["installed"], "installed")
    assert made["packages"]["numpy"] == made["installed"]["numpy"]
