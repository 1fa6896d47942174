"""A finished run on images of another hospital: scored once, nothing chosen anew, and refused before any work."""

import dataclasses
import json
import os
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from chexkeras import files
from chexkeras.data.audit.against_model import fit_thumbnails, shortcut_scores
from chexkeras.data.datasets.custom import NO_PATIENTS_CAUTION
from chexkeras.data.image_table import TableSource
from chexkeras.data.store.prepare import prepare
from chexkeras.data.store.store import Store
from chexkeras.evaluation.metrics import auc
from chexkeras.evaluation.uncertainty.intervals import clustered_proportion_interval
from chexkeras.inference import shortcuts
from chexkeras.inference.external import default_name, evaluate_external
from chexkeras.inference.novelty import find_unlike, learn_novelty
from chexkeras.inference.shortcuts import measure_shortcuts, thumbnails_of
from chexkeras.models.scoring import predict_scores
from chexkeras.models.weights.seen import Seen
from chexkeras.report import submission
from chexkeras.report.facts.collect import collect_facts
from chexkeras.runs.external import external_scores, external_tests, pool_external, read_external, thumbnail_shortcut
from chexkeras.runs.run import FINGERPRINTS, NOVELTY, Run

pytestmark = pytest.mark.keras


def of_source(table, dataset, **further):
    table = table.copy()
    table.attrs["source"] = TableSource(dataset=dataset, **further)
    return table


@pytest.fixture(scope="module")
def elsewhere(make_toy, tmp_path_factory):
    """Another hospital: the same numbers for other people, darker and with more of the finding."""
    table = make_toy(tmp_path_factory.mktemp("elsewhere"), patients=80, images_each=1, seed=9)
    return of_source(table, "Elsewhere", synthetic=True, cautions=("Drawn by a test.",))


@pytest.fixture
def run(toy_run, tmp_path):
    return Run.load(shutil.copytree(toy_run.folder, tmp_path / "run"))


@pytest.fixture(scope="module")
def tested(toy_run, elsewhere, tmp_path_factory):
    """A run with one external test, and how many batches its model computed for it."""
    folder = shutil.copytree(toy_run.folder, tmp_path_factory.mktemp("tested") / "run")
    batches = []
    before = keras.Model.predict_on_batch

    def counted(model, values):
        batches.append(len(values))
        return before(model, values)

    keras.Model.predict_on_batch = counted
    try:
        test = evaluate_external(folder, elsewhere, name="elsewhere")
    finally:
        keras.Model.predict_on_batch = before
    return Run.load(folder), test, batches


def test_it_costs_one_scoring_pass(tested, elsewhere):
    run, _, batches = tested
    assert len(batches) == -(-len(elsewhere) // run.recipe.batch_size)


def test_the_scores_are_those_of_the_frozen_model_and_the_calls_those_of_its_threshold(tested, elsewhere):
    run, test, _ = tested
    mine = external_scores(run, "elsewhere").set_index("image_id")["score"]
    other = predict_scores(run.load_model(), elsewhere, "Effusion").set_index("image_id")["score"]
    assert np.allclose(mine, other.reindex(mine.index), atol=1e-4)
    (point,) = run.operating_points
    found = test.evaluation["Effusion"]
    assert found.operating_point == point
    labels = elsewhere.set_index("image_id")["Effusion"].reindex(mine.index)
    assert found.sensitivity.value == pytest.approx((mine[labels == 1] >= point.threshold).mean())
    assert found.auroc.value == pytest.approx(auc(labels, mine))
    area = test["Effusion"]["AUROC"]
    assert area.second_value.value == pytest.approx(run.evaluation["Effusion"].auroc.value)
    assert area.difference.value == pytest.approx(area.first_value.value - area.second_value.value)
    assert {entry.statistic for entry in test["Effusion"].comparisons} == {
        "AUROC", "sensitivity", "specificity", "calibration slope", "calibration intercept"
    }  # fmt: skip


def test_the_run_keeps_it_and_reads_it_again(tested):
    run, test, _ = tested
    (found,) = external_tests(run)
    assert str(found) == str(test)
    assert {name: str(each) for name, each in run.external.items()} == {"elsewhere": str(test)}
    assert found.to_frame().equals(test.to_frame())
    assert (found.n_images, found.n_patients, found.n_listed, found.n_overlap) == (80, 80, 80, 0)
    assert found.refused.value == 0 and not found.refused_reasons
    assert found.synthetic and not found.same_source
    assert "elsewhere: Drawn by a test." in found.cautions and "Toy images." in found.cautions
    assert {entry.column for entry in found.evaluation["Effusion"].subgroups} >= {"sex", "age_years", "view"}
    before = {path.name for path in run.folder.iterdir()}
    assert not [name for name in before if name.startswith(".")]


def test_a_thumbnail_fitted_at_home_is_asked_there(tested, toy, toy_splits, elsewhere):
    run, test, _ = tested
    (thumbnail,) = [entry for entry in test.shortcuts.entries if entry.shortcut == "thumbnail"]
    train = toy_splits.train
    size = run.recipe.image_size
    home, there = (
        np.stack([seen[name] for name in rows["image_id"]])
        for rows, seen in ((train, thumbnails_of(train, size)), (elsewhere, thumbnails_of(elsewhere, size)))
    )
    scored, _ = shortcut_scores(train, elsewhere, "Effusion", thumbnails=(home, there))
    assert thumbnail.alone.value == pytest.approx(auc(scored["label"], scored["thumbnail"]), abs=0.01)
    assert {entry.name for entry in test.site_shortcuts} == {"view", "age and sex", "image size", "thumbnail"}
    (together,) = [entry for entry in test.shortcuts.entries if entry.shortcut == "all together"]
    assert not together.alone.estimable


def test_the_kept_thumbnail_orders_images_as_the_one_that_was_measured(tested, toy_splits):
    run, _, _ = tested
    parts = (toy_splits.train, toy_splits.test)
    pairs = tuple(
        np.stack([seen[name] for name in rows["image_id"]])
        for rows, seen in ((rows, thumbnails_of(rows, run.recipe.image_size)) for rows in parts)
    )
    scored, _ = shortcut_scores(*parts, "Effusion", thumbnails=pairs)
    kept = thumbnail_shortcut(run).scores("Effusion", pairs[1])
    again = fit_thumbnails(parts[0], "Effusion", pairs[0]).scores("Effusion", pairs[1])
    assert np.allclose(kept, again, atol=1e-6)
    apart = kept - scored["thumbnail"].to_numpy()
    # Equal but for a shift, which a score without intercept does not have to share.
    assert np.ptp(apart) == pytest.approx(0, abs=1e-2 * np.ptp(kept))


def test_adjusting_uses_other_patients_than_it_is_measured_on(tested):
    run, test, _ = tested
    (entry,) = test.adjustments
    assert entry.n_fitted + entry.n_measured == test.n_images
    assert abs(entry.n_fitted - entry.n_measured) <= 2 and min(entry.n_fitted_positive, entry.n_measured_positive) > 0
    assert entry.frozen_threshold == run.operating_points[0].threshold
    assert entry.local_threshold != entry.frozen_threshold
    assert entry.sensitivity_frozen.n == entry.n_measured_positive
    assert "no part of the external test" in str(test)


def test_the_result_is_the_same_from_a_store(tested, elsewhere, tmp_path):
    run, test, _ = tested
    prepare(elsewhere, tmp_path / "store", size=32)
    again = evaluate_external(
        run, elsewhere.drop(columns="path"), name="stored", store=Store.load(tmp_path / "store"), keep=False
    )
    assert again.evaluation["Effusion"].auroc.value == test.evaluation["Effusion"].auroc.value
    assert not (run.folder / "external" / "stored").exists()


def test_images_that_cannot_be_decoded_are_counted_with_their_reason(run, elsewhere, tmp_path):
    table = elsewhere.copy()
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    table.loc[table.index[:4], "path"] = str(broken)
    test = evaluate_external(run, table, name="broken", keep=False)
    assert (test.n_images, test.n_listed) == (76, 80)
    assert test.refused.value == pytest.approx(4 / 80)
    assert sum(count for _, count in test.refused_reasons) == 4


def with_novelty(run, splits, rate):
    """The run as if it had learnt what its images look like with a threshold for this rate; None forgets it."""
    record = json.loads((run.folder / "provenance.json").read_text())
    (run.folder / NOVELTY).unlink(missing_ok=True)
    record.pop("novelty", None)
    if rate is not None:
        learnt = learn_novelty(splits, run.recipe.image_size, rate=rate)
        record["novelty"] = {"sha256": files.sha256_file(learnt.save(run.folder / NOVELTY))}
    (run.folder / "provenance.json").write_text(json.dumps(record))
    return Run.load(run.folder)


def test_the_share_unlike_the_training_images_is_by_patient_and_costs_no_scoring(
    run, toy_splits, elsewhere, tmp_path, monkeypatch
):
    table = elsewhere.assign(patient_id=elsewhere["patient_id"].to_numpy().repeat(2)[: len(elsewhere)])
    table.attrs = dict(elsewhere.attrs)
    for row in table.index[:30]:
        film = Image.open(table.loc[row, "path"]).convert("L")
        table.loc[row, "path"] = str(tmp_path / f"{row}.png")
        ImageOps.invert(film).save(table.loc[row, "path"])
    run, batches, before = with_novelty(run, toy_splits, 0.1), [], keras.Model.predict_on_batch
    monkeypatch.setattr(
        keras.Model, "predict_on_batch", lambda model, values: batches.append(1) or before(model, values)
    )
    test = evaluate_external(run, table, name="there")
    assert len(batches) == -(-len(table) // run.recipe.batch_size)
    told = find_unlike(run, table).set_index("image_id")["unlike"].reindex(table["image_id"])
    assert 0 < told.sum() < len(table)
    assert test.unlike_training == clustered_proportion_interval(told.to_numpy(), table["patient_id"].to_numpy())
    assert f"unlike the training images: {test.unlike_training}" in " ".join(str(test).split())
    assert read_external(run, "there").unlike_training == test.unlike_training


@pytest.mark.parametrize(
    ("rate", "reason"), [(None, "keeps no measure of what its images look like"), (0.001, "at least 999 are needed")]
)
def test_a_run_that_cannot_tell_unlike_images_says_why(run, toy_splits, elsewhere, rate, reason):
    test = evaluate_external(with_novelty(run, toy_splits, rate), elsewhere, keep=False)
    assert not test.unlike_training.estimable and reason in test.unlike_training.reason


def test_another_number_of_a_patient_is_the_same_person_only_within_one_source(run, toy, elsewhere):
    """Both tables number patients from 1: between hospitals that is chance, within one source it is a leak."""
    assert set(toy["patient_id"]) & set(elsewhere["patient_id"])
    with pytest.raises(ValueError, match=r"all|of the .* images are of patients .* of the run"):
        evaluate_external(run, toy, name="home")
    new = toy.copy().assign(patient_id=lambda rows: "new " + rows["patient_id"])
    new.attrs = dict(toy.attrs)
    with pytest.raises(ValueError, match="overlap='leave_out'"):
        evaluate_external(run, new, name="home")
    assert not (run.folder / "external").exists()


def test_overlapping_images_are_left_out_and_the_source_is_named(run, make_toy, toy, tmp_path):
    more = make_toy(tmp_path, patients=100, images_each=1, seed=4)
    test = evaluate_external(run, more, name="later", overlap="leave_out")
    assert (test.n_overlap, test.n_images) == (60, 40)
    assert test.same_source and "same source" in str(test)
    assert any(caution.startswith("Not external") for caution in test.cautions)
    assert not set(external_scores(run, "later")["patient_id"]) & set(toy["patient_id"])
    # The rest of a data set, of which the run had only some files, was not seen.
    unseen = more["image_id"][~more["patient_id"].isin(set(toy["patient_id"]))]
    pd.DataFrame({"image_id": unseen, "reason": "no image on disk"}).to_csv(run.folder / "left_out.csv", index=False)
    assert evaluate_external(Run.load(run.folder), more, overlap="leave_out", keep=False).n_images == 40
    assert pool_external((test, dataclasses.replace(test, name="again")), "Effusion") == ()


def test_copies_of_the_run_s_images_under_other_names_are_found_by_their_pixels(run, toy, tmp_path):
    copied = toy.iloc[:40].copy()
    copied["image_id"] = [f"copy{number}.png" for number in range(40)]
    copied["patient_id"] = [f"someone {number}" for number in range(40)]
    copied["path"] = [shutil.copy(path, tmp_path / name) for path, name in zip(copied["path"], copied["image_id"],
                                                                               strict=True)]  # fmt: skip
    copied = of_source(copied, "Copies")
    with pytest.raises(ValueError, match=r"40 of the 40 images of 'copies' are images of this run"):
        evaluate_external(run, copied, name="copies")
    assert not (run.folder / "external").exists()
    with pytest.raises(ValueError, match="of the run itself"):
        evaluate_external(run, copied, name="copies", home=toy)
    # A run of an earlier version keeps nothing to compare pixels with, and must not say that it did.
    (run.folder / FINGERPRINTS).unlink()
    test = evaluate_external(Run.load(run.folder), copied, name="copies")
    assert not test.copies_searched and "another source" not in test.kind
    assert any("Only names and patient ids were compared" in caution for caution in test.cautions)
    # Measured again with its images at hand, it keeps them.
    measure_shortcuts(run.folder, toy, overwrite=True)
    with pytest.raises(ValueError, match="are images of this run"):
        evaluate_external(Run.load(run.folder), copied, name="again")


def among_others(elsewhere, toy, splits, folder, save):
    """Another hospital's images, among them those of the run, two of each part and one patient's, under other names."""
    own = toy[toy["image_id"].isin([name for part in (splits.train, splits.validation, splits.test)
                                    for name in part["image_id"][:2]])]  # fmt: skip
    rows = []
    for number, row in enumerate(own.to_dict("records")):
        path = folder / f"export{number}.png"
        save(Image.open(row["path"]), path)
        rows.append({**row, "image_id": path.name, "patient_id": f"pseudonym {number}", "path": str(path)})
    # Another image of a patient whose first one is the run's own.
    there = elsewhere.copy()
    there.loc[there.index[0], "patient_id"] = "pseudonym 0"
    return of_source(pd.concat([there, pd.DataFrame(rows)], ignore_index=True), "Mixed"), len(rows)


def as_it_is(image, path):
    image.save(path)


def doubled(image, path):
    image.resize((96, 96), Image.Resampling.NEAREST).save(path)


def brighter(image, path):
    image.point(lambda value: min(value + 10, 255)).save(path)


@pytest.mark.parametrize("save", [as_it_is, doubled, brighter])
def test_images_of_any_part_of_the_run_are_left_out_and_counted_whatever_they_are_called(
    run, toy, toy_splits, elsewhere, tmp_path, save, monkeypatch
):
    table, copies = among_others(elsewhere, toy, toy_splits, tmp_path, save)
    looked, before = [], shortcuts.images_with_ids
    monkeypatch.setattr(shortcuts, "images_with_ids", lambda *given, **how: looked.append(1) or before(*given, **how))
    test = evaluate_external(run, table, name="mixed")
    assert looked == [1]
    assert (copies, test.n_copies, test.n_beside_copies) == (6, 6, 1)
    assert (test.n_images, test.n_listed, test.copies_searched) == (79, 86, True)
    assert set(external_scores(run, "mixed")["image_id"]) == set(elsewhere["image_id"][1:])
    sentence = "6 images were left out: their pixels are those of images of this run"
    assert sentence in " ".join(str(test).split()) and any(sentence in caution for caution in test.cautions)
    # Six of 86 are more than chance: what lies beside images of the run is no other hospital.
    assert test.same_source and not test.outside
    found = read_external(run, "mixed")
    assert (found.n_copies, found.n_beside_copies, found.kind, str(found)) == (6, 1, test.kind, str(test))
    facts = collect_facts(run)
    assert facts["external.mixed.copies"].value == 6 and sentence in submission.preview(facts).text


def test_images_of_another_hospital_are_told_as_such_only_where_pixels_were_compared(tested, elsewhere, run):
    _, test, _ = tested
    assert (test.copies_searched, test.n_copies) == (True, 0)
    real = of_source(elsewhere, "Elsewhere")
    assert evaluate_external(run, real, keep=False).kind == "another source than the training images"
    (run.folder / FINGERPRINTS).unlink()
    found = evaluate_external(Run.load(run.folder), real, keep=False)
    assert found.kind == "other names than the training images; pixels were not compared"


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.iloc[1:],
        lambda table: table.assign(marks="zz" * 64),
        lambda table: table.assign(pixels="../secret"),
        lambda table: table.drop(columns="marks"),
        lambda table: table.assign(marks=""),
    ],
)
def test_fingerprints_that_no_run_writes_are_refused(run, elsewhere, change):
    file = run.folder / FINGERPRINTS
    change(pd.read_csv(file, dtype=str)).to_csv(file, index=False)
    with pytest.raises(ValueError, match=r"image_fingerprints\.csv of the run"):
        evaluate_external(Run.load(run.folder), elsewhere, name="there")
    assert not (run.folder / "external").exists()


def test_a_list_of_one_s_own_of_the_same_data_set_is_the_same_source(run, elsewhere):
    provenance = json.loads((run.folder / "provenance.json").read_text())
    provenance["source"] |= {"dataset": "NIH ChestX-ray14", "synthetic": False}
    (run.folder / "provenance.json").write_text(json.dumps(provenance))
    own = elsewhere.assign(
        image_id=[f"{number:08d}_000.png" for number in range(20_000, 20_080)],
        patient_id=[f"p{number}" for number in range(80)],
    )
    own = of_source(own, "my list")
    assert evaluate_external(Run.load(run.folder), own, keep=False).same_source


def with_weights(run, seen):
    record = json.loads((run.folder / "provenance.json").read_text())
    record["weights"] = {"title": "weights of others", "seen": seen}
    (run.folder / "provenance.json").write_text(json.dumps(record))
    return Run.load(run.folder)


def test_images_that_the_weights_have_seen_are_no_external_test(run, elsewhere):
    run = with_weights(run, [Seen("PadChest").to_dict()])
    test = evaluate_external(run, of_source(elsewhere, "PadChest"), name="padchest")
    assert test.seen_by_weights and not test.same_source and not test.outside
    told = [caution for caution in test.cautions if caution.startswith("padchest: LEAKY weights")]
    assert len(told) == 1 and "weights of others were trained on images of PadChest" in told[0]
    good = changed(test, 0.01, -0.02, 0.03)
    assert good["Effusion"].discrimination == good["Effusion"].operating_point == good.leading == "not shown"
    assert "not external: the weights have seen these images" in " ".join(str(good).split())
    assert changed(test, -0.2, -0.3, -0.1).leading == "worse"
    assert pool_external((test, dataclasses.replace(test, name="again")), "Effusion") == ()
    assert read_external(run, "padchest").kind == "not external: the weights have seen these images"
    # Phantoms of that layout, and images of other data sets, no published weights have seen.
    for other in (of_source(elsewhere, "PadChest", synthetic=True), of_source(elsewhere, "MIMIC-CXR-JPG")):
        found = evaluate_external(run, other, keep=False)
        assert found.outside and not any("LEAKY" in caution for caution in found.cautions)
        assert changed(found, 0.01, -0.02, 0.03)["Effusion"].discrimination == "holds"


def test_a_list_of_one_s_own_is_known_by_the_names_of_images_that_the_weights_have_seen(run, elsewhere):
    own = elsewhere.assign(
        image_id=[f"{number:08d}_000.png" for number in range(20_000, 20_080)],
        patient_id=[f"p{number}" for number in range(80)],
    )
    run = with_weights(run, [Seen("NIH ChestX-ray14").to_dict()])
    test = evaluate_external(run, of_source(own, "my list"), keep=False)
    assert test.seen_by_weights and any("LEAKY weights" in caution for caution in test.cautions)


def test_weights_of_which_nobody_says_what_they_saw_are_a_caution_and_no_verdict(run, elsewhere):
    test = evaluate_external(with_weights(run, None), of_source(elsewhere, "PadChest"), keep=False)
    assert test.outside and any("is not stated" in caution for caution in test.cautions)
    with pytest.raises(ValueError, match=r"provenance\.json of the run"):
        evaluate_external(with_weights(run, [{"other": "PadChest"}]), elsewhere, keep=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="Effusion"), "has none of the run's findings"),
        (lambda table: table.assign(Effusion=1.0), "images of one class only .*80 with and 0 without"),
        (lambda table: table.assign(Effusion=np.nan), "none of the 80 images is left"),
        (lambda table: table.drop(columns="patient_id"), "patient_id"),
        (lambda table: table.assign(patient_id=""), "have no patient_id"),
        (lambda table: of_source(table, "Own", cautions=(NO_PATIENTS_CAUTION,)), "does not say whose image is whose"),
        (lambda table: pd.concat([table, table.iloc[:2]]), "more than once"),
        (lambda table: table.assign(path="nowhere.png"), "not on disk"),
    ],
)
def test_what_cannot_be_measured_is_said_before_an_image_is_scored(run, elsewhere, monkeypatch, change, message):
    monkeypatch.setattr(keras.Model, "predict_on_batch", lambda *_: pytest.fail("an image was scored"))
    table = change(elsewhere)
    if "source" not in table.attrs:
        table.attrs["source"] = elsewhere.attrs["source"]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        evaluate_external(run, table, name="there")
    assert not (run.folder / "external").exists()


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".", "..", "a..b", "x" * 41, "/tmp/x", ".hidden", "ends.", "ä"])
def test_names_with_parts_of_paths_are_refused(run, elsewhere, name):
    with pytest.raises(ValueError, match="name of an external test"):
        evaluate_external(run, elsewhere, name=name)
    with pytest.raises(ValueError, match="name of an external test"):
        read_external(run, name)


def test_a_finding_is_found_under_another_name(run, elsewhere):
    table = elsewhere.rename(columns={"Effusion": "Fluid"})
    table.attrs = dict(elsewhere.attrs)
    with pytest.raises(ValueError, match="findings="):
        evaluate_external(run, table, name="there")
    test = evaluate_external(run, table, name="there", findings={"Effusion": "Fluid"}, keep=False)
    assert test["Effusion"].label == "Fluid"
    spelt = elsewhere.rename(columns={"Effusion": "Pleural Effusion"})
    spelt.attrs = dict(elsewhere.attrs)
    assert evaluate_external(run, spelt, keep=False)["Effusion"].label == "Pleural Effusion"


def test_a_run_that_was_nowhere_else_has_no_external_test(run):
    assert run.external == {}
    (run.folder / "external" / "made").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"external\.json"):
        _ = run.external


def test_a_name_is_taken_once(tested, elsewhere):
    run, test, _ = tested
    with pytest.raises(FileExistsError, match="overwrite=True"):
        evaluate_external(run, elsewhere, name="elsewhere")
    assert default_name(elsewhere) == "elsewhere"
    with pytest.raises(FileExistsError):
        evaluate_external(run, elsewhere)
    assert read_external(run, "elsewhere").scores_fingerprint == test.scores_fingerprint


def test_a_link_in_place_of_the_folder_is_not_followed(run, elsewhere, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (run.folder / "external").symlink_to(outside)
    with pytest.raises(OSError, match="link"):
        evaluate_external(run, elsewhere, name="there")
    assert external_tests(run) == () and not list(outside.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_run_that_cannot_be_written_to_is_refused_first(run, elsewhere):
    run.folder.chmod(0o500)
    try:
        with pytest.raises(OSError, match="nothing can be written"):
            evaluate_external(run, elsewhere, name="there")
    finally:
        run.folder.chmod(0o700)


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("findings"),
        lambda document: document.update(name="other"),
        lambda document: document.update(name="../other"),
        lambda document: document.update(margin=2.0),
        lambda document: document.update(n_images=-1),
        lambda document: document["findings"].append(document["findings"][0]),
        lambda document: document["findings"][0].update(finding="<b>"),
        lambda document: document["findings"][0]["comparisons"].clear(),
        lambda document: document.update(cautions=["x" * 5000]),
        lambda document: document.update(scores_fingerprint="ab" * 32),
        lambda document: document["evaluation"]["findings"][0]["auroc"].update(value=0.999, low=0.1, high=0.2),
        lambda document: document.update(surprise=1),
    ],
)
def test_hostile_files_are_refused_with_their_name(tested, tmp_path, change):
    run = Run.load(shutil.copytree(tested[0].folder, tmp_path / "run"))
    file = run.folder / "external" / "elsewhere" / "external.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"external/elsewhere/external\.json of the run"):
        external_tests(run)


def test_scores_of_a_test_that_were_changed_are_refused(tested, tmp_path):
    run = Run.load(shutil.copytree(tested[0].folder, tmp_path / "run"))
    file = run.folder / "external" / "elsewhere" / "scores.csv"
    table = pd.read_csv(file, dtype=str)
    table.loc[0, "score"] = "0.123"
    table.to_csv(file, index=False)
    with pytest.raises(ValueError, match="other scores"):
        external_tests(run)
    file.write_text("nothing\n1\n")
    with pytest.raises(ValueError, match=r"scores\.csv of the run"):
        external_tests(run)


def changed(test, value, low, high, **further):
    """An external test whose AUROC differs by another amount from the internal one."""
    finding = test.findings[0]
    comparisons = tuple(
        dataclasses.replace(
            entry,
            difference=dataclasses.replace(entry.difference, value=value, low=low, high=high),
            non_inferior=low > -entry.margin,
            **further,
        )
        if entry.margin is not None
        else entry
        for entry in finding.comparisons
    )
    return dataclasses.replace(test, findings=(dataclasses.replace(finding, comparisons=comparisons),))


def test_verdicts_say_no_more_than_the_interval(tested):
    _, test, _ = tested
    assert changed(test, 0.01, -0.02, 0.03)["Effusion"].discrimination == "holds"
    assert changed(test, -0.2, -0.3, -0.1)["Effusion"].discrimination == "worse"
    assert changed(test, -0.03, -0.2, 0.1)["Effusion"].discrimination == "not shown"
    few = changed(test, 0.01, -0.02, 0.03)
    few = dataclasses.replace(few, findings=(dataclasses.replace(few.findings[0], n_positive=29),))
    assert few["Effusion"].discrimination == "not shown"
    area = test["Effusion"]["AUROC"].first_value
    nothing = changed(test, 0.01, -0.02, 0.03, first_value=dataclasses.replace(area, value=0.52, low=0.45, high=0.6))
    assert nothing["Effusion"].discrimination == "not shown"
    assert nothing.leading == "not shown"


def test_sites_are_pooled_with_what_a_new_one_may_show(tested):
    _, test, _ = tested
    found = test.evaluation["Effusion"]

    def site(name, area):
        entry = dataclasses.replace(
            found, auroc=dataclasses.replace(found.auroc, value=area, low=area - 0.05, high=area + 0.04)
        )
        return dataclasses.replace(test, name=name, evaluation=dataclasses.replace(test.evaluation, findings=(entry,)))

    tests = (site("a", 0.9), site("b", 0.7), site("c", 0.8))
    pooled = {entry.statistic: entry for entry in pool_external(tests, "Effusion")}
    area = pooled["AUROC"]
    assert area.finding == "Effusion" and area.n_sites == 3
    assert 0.7 < area.mean.value < 0.9
    assert area.prediction.high - area.prediction.low > area.mean.high - area.mean.low
    assert "a: synthetic images." in area.cautions
    assert pool_external(tests[:1], "Effusion") == ()
