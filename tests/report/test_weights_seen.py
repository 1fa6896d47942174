"""A run whose weights have seen its images: said on the first page, in the model card and where numbers stand."""

import pytest

from chexkeras import files
from chexkeras.models.weights.seen import overlap
from chexkeras.models.weights.sources import WEIGHTS
from chexkeras.report import submission
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.facts.integrity import no_verdict
from chexkeras.report.lint.check import check_text
from chexkeras.report.lint.issue import known_from_run
from chexkeras.report.model_card import card_text
from chexkeras.runs.run import Run


def run_with(make_run, source, dataset, split="patient"):
    folder = make_run(skill=6.0, patients=500, synthetic=False).folder
    document = files.read_json(folder / "provenance.json")
    found = overlap(WEIGHTS[source].title, WEIGHTS[source].seen, dataset, split=split)
    document["weights"] = {"origin": WEIGHTS[source].title, "source": source, "seen_here": found.part,
                           "normalisation": "signed_1024", "seen": [WEIGHTS[source].seen[0].to_dict()]}  # fmt: skip
    document["cautions"] = [found.caution]
    files.write_json(folder / "provenance.json", document)
    return Run.load(folder)


def said(document):
    return " ".join(str(document).split())


@pytest.mark.parametrize(
    ("source", "dataset", "split", "words"),
    [
        ("xrv-nih", "NIH ChestX-ray14", "patient", "have seen images of the test part, or may have"),
        ("xrv-chex", "CheXpert", "official", "between pretraining and validation"),
    ],
)
def test_it_is_leaky_everywhere(make_run, source, dataset, split, words):
    run = run_with(make_run, source, dataset, split)
    facts = collect_facts(run)
    assert no_verdict(facts).startswith("LEAKY weights")
    text, card = said(submission.preview(facts).text), said(card_text(facts))
    for document in (text, card):
        assert "**Caution.** LEAKY weights" in document
        assert "NOT ESTIMABLE**" in document
        assert "| **MET** |" not in document
    assert words in text
    assert "weights by another publisher (torchxrayvision" in text
    assert "as the weights expect that training started from" in text


def test_a_document_that_does_not_say_so_is_found(make_run):
    known = known_from_run(run_with(make_run, "xrv-nih", "NIH ChestX-ray14"))
    found = [issue.rule for issue in check_text("# Model\n\nIt finds effusions.\n", known)]
    assert "leaky-split-not-named" in found
    assert "leaky-split-not-named" not in [
        issue.rule for issue in check_text("# Model\n\nThe weights are LEAKY.\n", known)
    ]
