"""The site as a shortcut: told from thumbnails, and telling labels."""

import numpy as np
import pandas as pd
import pytest

from chexkeras.data.audit.audit import audit
from chexkeras.data.audit.sites import site_shortcuts


def two_sites(*, patients=120, darker=0.0, often=0.3, seed=0):
    """Patients of two sites with one image each; the second is darker, and has the finding as often as said."""
    rng = np.random.default_rng(seed)
    site = np.array(["north", "south"])[np.arange(patients) % 2]
    share = np.where(site == "south", often, 0.3)
    ids = [f"i{number}" for number in range(patients)]
    table = pd.DataFrame(
        {"image_id": ids, "patient_id": ids, "site": site, "Mass": (rng.random(patients) < share).astype(float),
         "view": rng.choice(["AP", "PA"], patients), "sex": rng.choice(["F", "M"], patients)}
    )  # fmt: skip
    thumbnails = rng.normal(100, 10, (patients, 4, 4)) - darker * (site == "south")[:, None, None]
    return table, thumbnails


def by_name(found):
    return {(entry.finding, entry.name): entry for entry in found}


def test_a_darker_site_is_told_from_a_thumbnail_and_an_equal_one_is_not():
    table, thumbnails = two_sites(darker=40.0)
    found = by_name(site_shortcuts(table, "Mass", thumbnails=thumbnails))
    assert found["site south", "thumbnail"].auroc.value > 0.95 and found["site south", "thumbnail"].informative
    assert not found["site south", "view"].informative
    assert found["site north", "thumbnail"].auroc.value > 0.95
    table, thumbnails = two_sites()
    found = by_name(site_shortcuts(table, "Mass", thumbnails=thumbnails))
    assert found["site south", "thumbnail"].auroc.value < 0.7


def test_a_site_with_more_of_the_finding_tells_the_label():
    table, _ = two_sites(often=0.9, patients=200)
    found = by_name(site_shortcuts(table, "Mass"))
    assert found["Mass", "site"].auroc.value > 0.7 and found["Mass", "site"].informative
    table, _ = two_sites(often=0.3, patients=200)
    assert not by_name(site_shortcuts(table, "Mass"))["Mass", "site"].informative


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop(columns="site"),
        lambda table: table.assign(site="north"),
        lambda table: table.assign(site=["south"] * 3 + ["north"] * (len(table) - 3)),
    ],
)
def test_a_table_of_one_site_has_none(change):
    assert site_shortcuts(change(two_sites()[0]), "Mass") == ()


def test_the_audit_tells_of_sites():
    table, _ = two_sites(often=0.9, patients=200)
    found = audit(table, targets=["Mass"], decode=False)
    assert "Mass from site: 0." in found.summary and "site south from view" in found.summary
    assert {entry["name"] for entry in found.to_dict()["sites"]} >= {"site", "view"}
    alone = audit(table.drop(columns="site"), targets=["Mass"], decode=False)
    assert alone.sites == () and "sites:" not in alone.summary
