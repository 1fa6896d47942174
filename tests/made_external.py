"""External tests made of scores alone, for what reads them: report, figures and pooling need no model."""

import numpy as np
import pandas as pd

from chexkeras import files
from chexkeras.evaluation.evaluate import evaluate
from chexkeras.evaluation.external import against_internal, forecast_adjustment
from chexkeras.evaluation.scores import Scores, scores_fingerprint, write_scores
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.results import Estimate, ExternalTest, SiteShortcut
from chexkeras.results.external import INTERNAL


def made_scores(findings, *, skill, patients=200, seed=0):
    """Scores of one image of each patient; with `skill` 0 they tell nothing."""
    rng = np.random.default_rng(seed)
    pieces = []
    for finding in findings:
        labels = (rng.random(patients) < 0.3).astype(float)
        scores = 1 / (1 + np.exp(-(rng.normal(size=patients) + skill * labels - 1.5)))
        ids = [f"{seed}-{number}" for number in range(patients)]
        pieces.append(pd.DataFrame({"image_id": ids, "patient_id": ids, "finding": finding, "label": labels,
                                    "score": scores}))  # fmt: skip
    return Scores.of(pd.concat(pieces, ignore_index=True))


def made_external(scores, internal, points, name, *, seen_by_weights=False, **further):
    """An external test of these scores against the internal ones."""
    scores, internal = Scores.of(scores), Scores.of(internal)
    images = scores["image_id"].unique()
    patients = scores.drop_duplicates("image_id")["patient_id"]
    findings = against_internal(
        scores,
        internal,
        points,
        labels={each: each for each in scores.findings},
        name=name,
        margins=(0.05, 0.1),
        seen_by_weights=seen_by_weights,
    )
    given = {
        "dataset": "Another hospital's images", "label_release": "2024", "files": (("labels.csv", "ab" * 32),),
        "synthetic": False, "same_source": False, "n_overlap": 0, "copies_searched": True,
        "refused_reasons": (), "left_out": (), "margin": 0.05, "operating_margin": 0.1, "model_sha256": "",
        "cautions": (),
    } | further  # fmt: skip
    return ExternalTest(
        name=name,
        n_listed=len(images),
        n_images=len(images),
        n_patients=int(patients.nunique()),
        refused=clustered_proportion_interval(np.zeros(len(images)), patients.to_numpy()),
        unlike_training=Estimate.not_estimable("not measured"),
        findings=findings,
        evaluation=evaluate(scores, points, split=f"{name} (external)", cautions=given["cautions"]),
        shortcuts=None,
        site_shortcuts=tuple(SiteShortcut("view", each, Estimate(0.6, 0.5, 0.7, 0.95, 200, "m")) for each in
                             scores.findings),
        adjustments=forecast_adjustment(scores, points, set(images[::2])),
        scores_fingerprint=scores.fingerprint,
        internal_fingerprint=scores_fingerprint(internal),
        **given,
    )  # fmt: skip


def keep_external(run, name, *, skill=2.0, seed=5, **further):
    """Writes an external test of a run into its folder, and returns it."""
    internal = run.scores("test")
    scores = made_scores(internal.findings, skill=skill, seed=seed)
    further = {"model_sha256": run.provenance["model"]["sha256"]} | further
    test = made_external(scores, internal, run.operating_points, name, **further)
    folder = run.folder / "external" / name
    folder.mkdir(parents=True)
    write_scores(folder / "scores.csv", scores)
    files.write_json(folder / "external.json", test.to_dict())
    assert {each.second for entry in test.findings for each in entry.comparisons} == {INTERNAL}
    return test
