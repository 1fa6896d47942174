import numpy as np

from chexkeras.report import submission
from chexkeras.report.facts.calibration import border
from chexkeras.report.facts.collect import collect_facts
from chexkeras.runs.run import Run


def test_a_prevalence_at_the_border_is_not_estimable(finished_run, monkeypatch):
    """A grid of likelihoods, computed independently, rises up to the border."""
    run = Run.load(finished_run)
    scores = run.scores("test")
    given = {"low": scores["score"] * 0.01, "high": 1 - (1 - scores["score"]) * 0.01, "middle": scores["score"]}
    shares = np.linspace(0.001, 0.999, 999)
    for name, wanted in (("low", 0), ("high", 1), ("middle", None)):
        values = given[name].to_numpy()[:, None]
        likelihood = np.log(values * shares / 0.3 + (1 - values) * (1 - shares) / 0.7).sum(axis=0)
        highest = {0: 0, len(shares) - 1: 1}.get(int(likelihood.argmax()))
        assert border(given[name], 0.3) == highest == wanted, name
    monkeypatch.setattr(Run, "scores", lambda self, part: scores.assign(score=given["high"]))
    facts = collect_facts(run)
    assert (
        "not estimable (the scores fit no share of positives better than all" in facts["shift.Effusion.estimated"].text
    )
    assert facts["shift.Effusion.agrees"].value == "unknown"
    assert "**The scores cannot be used to follow the prevalence**" in submission.preview(facts).text
