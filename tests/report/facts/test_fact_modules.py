"""Facts against what is worked out by hand, by an independent calculation, or published."""

import itertools
import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from chexkeras.findings import NIH14
from chexkeras.models.losses import loss_words
from chexkeras.models.optimizers import optimizer_words
from chexkeras.report import submission
from chexkeras.report.answers import Answers, load_answers
from chexkeras.report.facts import software
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.facts.regulation import GUIDELINES, TOPICS, status_of
from chexkeras.report.facts.study import quantile_interval
from chexkeras.report.facts.training import augmentation_words, trained_words
from chexkeras.runs.run import Run


@pytest.fixture(scope="module")
def facts(finished_run):
    return collect_facts(Run.load(finished_run))


@pytest.fixture(scope="module")
def stated(finished_run, answered):
    return collect_facts(Run.load(finished_run), answers=load_answers(answered))


def test_the_worked_example_has_the_power_that_enumeration_gives(facts):
    """500 cases: power .827 for a rate of .85 and .988 for .87; 494, 248 and 113 cases for a power of .8."""
    rows = {
        float(rate): (float(width), float(power), cases) for rate, width, power, cases in facts["example.rows"].value
    }
    assert rows[0.85] == (3.4, 0.827, "494")
    assert rows[0.87][1:] == (0.988, "248")
    assert rows[0.90][2] == "113"
    # Independently: every count whose Clopper-Pearson limit lies above the goal.
    shown = [k for k in range(1, 501) if stats.beta.ppf(0.025, k, 501 - k) > 0.8]
    assert rows[0.82][1] == pytest.approx(stats.binom.pmf(shown, 500, 0.82).sum(), abs=5e-4)
    assert facts["example.images"].value == 1000


def test_images_of_one_patient_multiply_the_cases_by_the_design_effect(stated):
    assert stated["plan.design_effect"].value == pytest.approx(1 + 0.5 * 0.4)
    key = "plan.Effusion.sensitivity"
    assert stated[f"{key}.cases"].value == 248
    assert stated[f"{key}.images"].value == math.ceil(248 * 1.2)
    assert stated["plan.Effusion.total"].value == math.ceil(math.ceil(248 * 1.2) / 0.05)


@pytest.mark.parametrize(
    ("expected", "text"), [(0.79, "does not lie above the goal"), (0.802, "too close to the goal")]
)
def test_a_rate_that_no_study_can_show_gets_no_number(finished_run, expected, text):
    answers = Answers({"study.expected_sensitivity": expected})
    facts = collect_facts(Run.load(finished_run), answers=answers)
    assert text in facts["plan.Effusion.sensitivity.cases"].text
    assert "plan.Effusion.sensitivity.images" not in facts


def test_number_needed_and_errors_at_the_stated_prevalence_follow_by_hand(stated):
    sensitivity, specificity = (stated[f"test.Effusion.{name}"].value.value for name in ("sensitivity", "specificity"))
    found, alarms = 0.05 * sensitivity, 0.95 * (1 - specificity)
    key = "deployed.Effusion"
    assert stated[f"{key}.ppv"].value.value == pytest.approx(found / (found + alarms))
    assert stated[f"{key}.false_negatives_per_1000"].value.value == pytest.approx(1000 * 0.05 * (1 - sensitivity))
    assert stated[f"{key}.false_positives_per_1000"].value.value == pytest.approx(1000 * alarms)
    assert float(stated[f"{key}.number_needed"].text.split()[0]) == pytest.approx((found + alarms) / found, abs=0.05)


def test_waiting_times_follow_from_cobhams_formulas(stated):
    """Non-pre-emptive priority with one reader: W1 = r / (1 - r1), W2 = W1 / (1 - r), r the mean residual work."""
    arrivals, reads = 12.0, 15.0
    sensitivity, specificity = (stated[f"test.Effusion.{name}"].value.value for name in ("sensitivity", "specificity"))
    flagged = 0.05 * sensitivity + 0.95 * (1 - specificity)
    load, first = arrivals / reads, flagged * arrivals / reads
    residual = load / reads
    waits = residual / (1 - first), residual / ((1 - first) * (1 - load))
    diseased = sensitivity * waits[0] + (1 - sensitivity) * waits[1] + 1 / reads
    fifo = residual / (1 - load) + 1 / reads
    key = "waiting.Effusion"
    assert stated[f"{key}.fifo_hours"].value == pytest.approx(fifo)
    assert stated[f"{key}.diseased_hours"].value == pytest.approx(diseased)
    assert stated[f"{key}.saving"].value.value == pytest.approx(fifo - diseased)
    # Nobody's time is created.
    others = stated[f"{key}.non_diseased_hours"].value
    assert 0.05 * diseased + 0.95 * others == pytest.approx(fifo)


def test_control_limits_leave_out_no_more_than_three_standard_deviations_would(facts, finished_run):
    scores = pd.read_csv(finished_run / "scores_test.csv")
    share = (scores["score"] >= facts["point.Effusion.threshold"].value).mean()
    low, high = facts["baseline.Effusion.low"].value, facts["baseline.Effusion.high"].value
    chances = np.array([math.comb(100, k) * share**k * (1 - share) ** (100 - k) for k in range(101)])
    tail = facts["baseline.tail"].value
    assert chances[:low].sum() <= tail < chances[: low + 1].sum()
    assert chances[high + 1 :].sum() <= tail < chances[high:].sum()
    assert facts["baseline.Effusion.alarm"].value == pytest.approx(1 - chances[low : high + 1].sum())


def test_the_interval_of_a_quantile_covers_as_often_as_it_says():
    """All orders are equally likely: the true 0.5 quantile lies between two order statistics with binomial chance."""
    found = quantile_interval(range(1, 101), 0.5)
    inside = stats.binom.cdf(found.high - 1, 100, 0.5) - stats.binom.cdf(found.low - 1, 100, 0.5)
    assert 0.95 <= inside < 0.97
    assert not quantile_interval([1.0, 2.0, 3.0], 0.9).estimable
    assert not quantile_interval([], 0.5).estimable


def test_a_minimum_of_the_sponsors_own_takes_estimates_away(finished_run):
    facts = collect_facts(Run.load(finished_run), answers=Answers({"goals.fewest_positives": 12}))
    by_view = [f"groups.Effusion.view.{position}" for position in range(2)]
    counts = {facts[f"{key}.level"].value: facts[f"{key}.n_positive"].value for key in by_view}
    assert counts["AP"] < 12 <= counts["PA"]
    for key in by_view:
        few = facts[f"{key}.level"].value == "AP"
        assert facts[f"{key}.sensitivity"].value.estimable is not few
        assert facts[f"{key}.specificity"].value.estimable
        assert facts[f"{key}.sensitivity"].text.startswith("too few: ") is few


def test_images_with_and_without_other_findings_are_told_apart_by_hand(facts, finished_run):
    table = pd.read_csv(finished_run / "table.csv").set_index("image_id")
    scores = pd.read_csv(finished_run / "scores_test.csv").set_index("image_id")
    others = (table.loc[scores.index, [name for name in NIH14 if name != "Effusion"]] == 1).any(axis=1)
    called = scores["score"] >= facts["point.Effusion.threshold"].value
    key = "groups.Effusion.other findings"
    assert facts["groups.Effusion"].value[-1] == "other findings"
    for position in range(2):
        group = f"{key}.{position}"
        chosen = others if facts[f"{group}.level"].value == "at least one" else ~others
        negative = chosen & (scores["label"] == 0)
        assert facts[f"{group}.n_images"].value == chosen.sum()
        assert facts[f"{group}.specificity"].value.value == pytest.approx((~called[negative]).mean())


def test_images_whose_other_findings_are_not_known_are_in_no_group(run_folder):
    table = pd.read_csv(run_folder / "table.csv", dtype={"patient_id": str})
    test = table.index[table["part"] == "test"]
    clear = [row for row in test if not (table.loc[row, list(NIH14)] == 1).any()][:3]
    table.loc[clear, "Mass"] = float("nan")
    table.to_csv(run_folder / "table.csv", index=False)
    facts = collect_facts(Run.load(run_folder))
    assert facts["groups.Effusion.other findings.n_unknown"].value == 3
    table.loc[:, [name for name in NIH14 if name != "Effusion"]] = 0.0
    table.to_csv(run_folder / "table.csv", index=False)
    assert "other findings" not in collect_facts(Run.load(run_folder))["groups.Effusion"].value


def test_comparison_says_better_worse_and_not_distinguishable(finished_run, answered, tmp_path):
    run, other = Run.load(finished_run), Run.load(answered.parent / "runs" / "other")
    stated = {"comparison.run": str(other.folder), "comparison.name": "B"}
    assert collect_facts(run, answers=Answers(stated))["comparison.better"].value == 3
    stated["comparison.run"] = str(run.folder)
    assert collect_facts(other, answers=Answers(stated))["comparison.worse"].value == 3
    assert collect_facts(run, answers=Answers(stated))["comparison.not distinguishable"].value == 3


def test_readers_are_counted_by_hand(stated, finished_run, answered):
    read = pd.read_csv(answered.parent / "readers.csv")
    calls = read[["reader_1", "reader_2", "reader_3"]]
    others = calls[["reader_2", "reader_3"]].sum(axis=1)
    settled = others != 1
    agreed = calls.loc[settled & (others == 2), "reader_1"]
    row = stated["readers.rows"].value[0]
    assert row[1] == settled.sum()
    assert row[2].startswith(f"{agreed.mean():.3f} ") and f"n = {len(agreed)}" in row[2]
    scores = pd.read_csv(finished_run / "scores_test.csv").set_index("image_id")["score"]
    majority = calls.sum(axis=1) >= 2
    called = scores[read["image_id"]].to_numpy() >= stated["point.Effusion.threshold"].value
    assert stated["readers.device.sensitivity"].value.value == pytest.approx(called[majority].mean())
    assert stated["readers.device.specificity"].value.value == pytest.approx((~called[~majority]).mean())
    # Two readers have neither a majority of others nor a consensus.
    assert stated["readers.consensus"].value is True


def test_readers_of_another_finding_or_without_calls_are_refused(finished_run, tmp_path):
    path = tmp_path / "readers.csv"
    path.write_text("image_id,a\nx,1\n")
    answers = Answers({"readers.file": str(path), "readers.finding": "Mass"})
    with pytest.raises(ValueError, match=r"readers\.finding"):
        collect_facts(Run.load(finished_run), answers=answers)
    with pytest.raises(ValueError, match="reader"):
        collect_facts(Run.load(finished_run), answers=Answers({**answers.values, "readers.finding": "Effusion"}))


def test_the_bill_of_materials_names_the_model_and_what_is_installed(facts):
    made = software.bill_of_materials(facts)
    assert made == software.bill_of_materials(facts)
    model = made["components"][0]
    assert model["type"] == "machine-learning-model"
    assert model["hashes"] == [{"alg": "SHA-256", "content": facts["hash.model"].value}]
    packages = {part["name"]: part["version"] for part in made["components"][1:]}
    assert packages["pandas"] == pd.__version__
    assert made["metadata"]["component"]["name"] == "chexkeras"
    assert len(packages) + 1 == facts["sbom.components"].value
    references = [part["bom-ref"] for part in made["components"]]
    assert len(set(references)) == len(references)
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", made["serialNumber"])
    inside = [library["bom-ref"] for part in made["components"] for library in part.get("components", ())]
    assert len(inside) == facts["sbom.libraries"].value
    known = {*references, *inside, made["metadata"]["component"]["bom-ref"]}
    graph = {entry["ref"]: entry["dependsOn"] for entry in made["dependencies"]}
    assert len(graph) == len(made["dependencies"])
    assert set(graph) <= known
    assert {needed for needs in graph.values() for needed in needs} <= known
    # Everything is reached from chexkeras.
    reached, waiting = set(), [made["metadata"]["component"]["bom-ref"]]
    while waiting:
        reached.add(part := waiting.pop())
        waiting += [needed for needed in graph.get(part, ()) if needed not in reached]
    assert reached == known
    json.dumps(made, allow_nan=False)


def test_the_bill_of_materials_is_of_the_machine_that_trained(finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    recorded = json.loads((run / "provenance.json").read_text())
    recorded["depends"] = {"chexkeras": ["pandas", "numpy"]}
    recorded["bundled"] = {"pandas": {"libjpeg": "62.4.0", "libother": ""}}
    for installed, expected in (({"chexkeras": "0.1.0", "pandas": "2.0.1"}, "2.0.1"), (None, "1.9.9")):
        recorded["installed"], recorded["packages"] = installed, {"pandas": "1.9.9", "keras": "not installed"}
        (run / "provenance.json").write_text(json.dumps(recorded))
        made = software.bill_of_materials(collect_facts(Run.load(run)))
        packages = {part["name"]: part["version"] for part in made["components"][1:]}
        assert packages["pandas"] == expected
        (pandas,) = (part for part in made["components"] if part["name"] == "pandas")
        assert [(each["name"], each.get("version")) for each in pandas["components"]] == [
            ("libjpeg", "62.4.0"), ("libother", None),
        ]  # fmt: skip
        (needs,) = (each["dependsOn"] for each in made["dependencies"] if each["ref"].startswith("pkg:pypi/chexkeras@"))
        assert f"pkg:pypi/pandas@{expected}" in needs
        assert ("pkg:pypi/numpy@" in "".join(needs)) == (installed is None)
        assert ("numpy" in packages) == (installed is None)


def test_the_crosswalk_names_sections_that_exist_and_guidelines_with_a_source(facts):
    assert {name for name, _, _ in TOPICS} == set(GUIDELINES)
    assert {number for _, _, sections in TOPICS for number in sections} <= set(range(1, 23))
    rows = status_of(facts, {4})
    by_topic = {topic: (sections, status) for _, topic, sections, status in rows}
    assert by_topic["reference standard and its rationale"] == ("5", "no open field")
    assert by_topic["bias and fairness of the data"] == ("4, 9", "open fields in 4")


def test_a_model_of_another_file_is_a_caution_and_one_without_fingerprint_is_said_to_be_unknown(run_folder):
    (run_folder / "model.keras").write_bytes(b"another")
    facts = collect_facts(Run.load(run_folder))
    assert any("model in the run folder is not the one" in caution for caution in facts["cautions"].value)
    provenance = json.loads((run_folder / "provenance.json").read_text())
    del provenance["model"]["sha256"]
    (run_folder / "provenance.json").write_text(json.dumps(provenance))
    facts = collect_facts(Run.load(run_folder))
    assert facts["check.model"].text.startswith("not known")
    assert not any("model in the run folder" in caution for caution in facts["cautions"].value)


@pytest.mark.parametrize(
    ("stage", "text"),
    [
        ({}, "Adam"),
        ({"optimizer": "sgd", "schedule": "warmup_cosine", "warmup_epochs": 2},
         "SGD with momentum, learning rate rising for 2 epochs, then falling along a cosine"),
        ({"optimizer": "adam", "schedule": "reduce_on_plateau", "reduce_factor": 0.1, "reduce_patience": 3},
         "Adam, learning rate times 0.1 after 3 epochs without a better value"),
        ({"clip_norm": 1.0, "accumulate": 4, "ema": 0.999},
         "Adam, gradients clipped to a norm of 1, gradients averaged over 4 batches, moving average of the weights "
         "with momentum 0.999"),
    ],
)  # fmt: skip
def test_optimisers_are_described_by_what_had_an_effect(stage, text):
    assert optimizer_words(stage) == text


def test_losses_and_augmentation_name_no_idle_number():
    idle = {
        "class_weights": "balanced",
        "label_smoothing": 0.0,
        "gamma": 2.0,
        "alpha": 0.25,
        "cap": 20.0,
        "margin": 1.0,
    }
    assert loss_words({"name": "weighted_bce", **idle}) == "binary cross-entropy (class weights balanced)"
    capped = {**idle, "class_weights": "capped"}
    assert loss_words({"name": "weighted_bce", **capped}) == "binary cross-entropy (class weights capped, cap 20)"
    assert loss_words({"name": "auc_margin", **idle}) == "AUC margin loss (margin 1)"
    weighed = {"name": "auc_margin", **idle, "target_weights": [["Mass", 2.0]]}
    assert loss_words(weighed) == "AUC margin loss (margin 1, weights of findings Mass 2)"
    assert (
        augmentation_words({"flip": False, "flip_probability": 0.5, "blur_probability": 0.0, "blur_kernel_px": 5}) == []
    )
    blurred = {"blur_probability": 0.3, "blur_sigma_px": [0.1, 2.0], "blur_kernel_px": 5}
    assert augmentation_words(blurred) == [
        "blur of 30.0 % of the images, standard deviation 0.1 to 2 pixels, kernel of 5 pixels"
    ]
    erased = {"erase_probability": 0.25, "erase_area": [0.02, 0.08]}
    assert augmentation_words(erased) == [
        "a rectangle of 2 % to 8 % of the image filled with its mean in 25.0 % of the images"
    ]


@pytest.mark.parametrize("trainable", [0, 1, 0.25, "conv5"])
def test_trained_batchnorm_is_not_said_to_be_held(trainable):
    held, trained = trained_words(trainable, "held"), trained_words(trainable, "trained")
    assert ("BatchNorm" in held) is (trainable != 0)
    assert "BatchNorm" not in trained


def test_augmentation_knows_every_field_that_a_recipe_has():
    from dataclasses import fields

    from chexkeras.data.augmentation import Augmentation

    detail = {"flip_probability", "blur_sigma_px", "blur_kernel_px", "erase_area", "degrade_probability"}
    defaults = {field.name: field.default for field in fields(Augmentation)}
    for name in set(defaults) - detail:
        assert len(augmentation_words({**defaults, name: True if name == "flip" else 0.1})) == 1, name


def test_every_combination_of_verdicts_reads_as_what_it_is(finished_run, make_run):
    """The conclusion follows from verdict, leak and phantoms alone."""
    said = {}
    for leaky, synthetic in itertools.product((False, True), repeat=2):
        run = make_run(leaky=leaky, synthetic=synthetic, skill=6.0, patients=500, dicom=False)
        text = submission.preview(collect_facts(run)).text
        said[leaky, synthetic] = " ".join(text[text.index("## 22.") :].split())
    assert "On the test part the stated goals were MET" in said[False, False]
    assert "no evidence about patients" in said[False, True]
    assert "The split is leaky" in said[True, False] and "The split is leaky" in said[True, True]


def test_a_reader_study_is_judged_by_the_lower_limit_of_its_difference(stated, answered):
    read = pd.read_csv(answered.parent / "reader_study.csv")
    called = read.assign(called=read["rating"] >= 3)[read["truth"] == 1]
    rates = called.groupby(["reader", "modality"])["called"].mean().unstack()
    gained = (rates["with device"] - rates["without device"]).mean()
    difference = stated["reader_study.difference"].value
    assert difference.value == pytest.approx(gained, abs=1e-12)
    assert stated["reader_study.mean.with"].value.value == pytest.approx(rates["with device"].mean(), abs=1e-12)
    assert len(stated["reader_study.rows"].value) == 5
    assert stated["reader_study.goal"].value == -0.05
    assert stated["reader_study.verdict"].value == ("shown" if difference.low > -0.05 else "not shown")


def reader_study_answers(path, **changes):
    usual = {"file": str(path), "with_device": "with device", "without_device": "without device"}
    return Answers({f"reader_study.{key}": value for key, value in (usual | changes).items() if value is not None})


def test_without_a_margin_reading_with_the_device_must_be_better(finished_run, answered):
    path = answered.parent / "reader_study.csv"
    facts = collect_facts(Run.load(finished_run), answers=reader_study_answers(path))
    assert facts["reader_study.figure"].value == "AUROC"
    assert facts["reader_study.goal"].text == "better with the device"
    assert facts["reader_study.verdict"].value == "shown"
    turned = reader_study_answers(path, with_device="without device", without_device="with device")
    facts = collect_facts(Run.load(finished_run), answers=turned)
    assert facts["reader_study.verdict"].value == "not shown"


def test_a_modality_that_nobody_read_in_is_refused(finished_run, answered):
    answers = reader_study_answers(answered.parent / "reader_study.csv", with_device="aided")
    with pytest.raises(ValueError, match=r"reader_study\.with_device.*with device"):
        collect_facts(Run.load(finished_run), answers=answers)
