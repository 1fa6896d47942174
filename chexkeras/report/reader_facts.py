"""Facts on human readers, from the table of their calls that the author gives."""

from typing import Any

import pandas as pd

from chexkeras import checks
from chexkeras.report.facts.facts import Facts, estimate_text


def _add_consensus(facts: Facts, ratings: pd.DataFrame, patients: pd.Series | None, file: str) -> None:
    """Records readers against the most likely consensus, where at least three called both classes."""
    from chexkeras.evaluation.readers.dawid_skene import dawid_skene

    calls = ratings.to_numpy(dtype=float)
    both = bool((calls == 1).any() and (calls == 0).any())
    possible = ratings.shape[1] > 2 and both and bool(ratings.notna().any().all())
    found = dawid_skene(ratings, patients=patients) if possible else None
    reached = found is not None and found.converged
    facts.add("readers.consensus", reached, file=file, field="whether Dawid and Skene's consensus could be found")
    if found is None or not reached:
        return
    rows = [[name, estimate_text(rate), estimate_text(found.specificities[name])]
            for name, rate in found.sensitivities.items()]  # fmt: skip
    facts.add("readers.consensus.rows", rows, "", file=file, field="each reader against Dawid and Skene's consensus")
    facts.add("readers.consensus.prevalence", found.prevalence, file=file, field="prevalence by Dawid and Skene")


def add_readers(facts: Facts, run: Any, answers: Any) -> None:
    """Records how readers agree, how each does against the others, and how the device does against their majority.

    Args:
        facts: Where they go.
        run: The `Run`, for the device's calls on the same images.
        answers: The author's `Answers`.

    Raises:
        FileNotFoundError: If the table is missing.
        ValueError: If it is no table of calls, or the finding was not evaluated.
    """
    from chexkeras.evaluation.readers.agreement import check_ratings, fleiss_kappa, majority, readers_against_others
    from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval

    path = answers.path("readers.file")
    facts.add("readers", path is not None, file="convention", field="whether submission.toml names a table of readers")
    if path is None:
        return
    finding = checks.one_of(answers.get("readers.finding"), facts["evaluated"].value, "readers.finding")
    read = pd.read_csv(checks.existing_file(path, "readers.file"), dtype={"image_id": str})
    checks.require_columns(read, ["image_id"], path.name, "Give image_id and one column for each reader.")
    ratings = check_ratings(read)
    file = path.name
    facts.add("readers.finding", finding, finding.replace("_", " "), file="submission.toml", field="readers.finding")
    facts.add("readers.count", ratings.shape[1], file=file, field="columns of readers")
    facts.add("readers.images", len(ratings), file=file, field="rows")
    known = run.table.set_index("image_id")["patient_id"]
    patients = known if ratings.index.isin(known.index).all() else None
    kappa = fleiss_kappa(ratings, patients=patients)
    facts.add("readers.kappa", kappa, file=file, field="Fleiss' kappa of all readers")
    rows = []
    if ratings.shape[1] > 2:
        for entry in readers_against_others(ratings, patients=patients):
            cells = [estimate_text(entry.sensitivity), estimate_text(entry.specificity)]
            rows.append([entry.reader, entry.n_images, *cells])
    facts.add("readers.rows", rows, "", file=file, field="each reader against the majority of the others")
    _add_consensus(facts, ratings, patients, file)
    scores = run.scores("test")
    scores = scores[scores["finding"] == finding].set_index("image_id")
    consensus = majority(ratings).dropna()
    common = consensus.index.intersection(scores.index)
    point = next((point for point in run.operating_points if point.finding == finding), None)
    facts.add("readers.common", len(common), file=file, field="images with a majority that are in the test part")
    facts.add("readers.device", bool(len(common)) and point is not None, file=file,
              field="whether the device made calls on these images")  # fmt: skip
    if point is None or not len(common):
        return
    rows_common = scores.loc[common]
    called = rows_common["score"].to_numpy() >= point.threshold
    positive = consensus.loc[common].to_numpy() == 1
    patients = rows_common["patient_id"].to_numpy()
    for name, among, right in (("sensitivity", positive, called), ("specificity", ~positive, ~called)):
        found = clustered_proportion_interval(right[among], patients[among], empty="no such image")
        facts.add(f"readers.device.{name}", found, file=file, field=f"{name} of the device against the majority")
