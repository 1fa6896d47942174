"""Readers' figures and their covariances: by definition, pair by pair; without bias, over all samples there are."""

import itertools

import numpy as np
import pandas as pd
import pytest

from chexkeras.evaluation.metrics import auc
from chexkeras.evaluation.readers.figures_of_merit import figures_of_merit
from chexkeras.evaluation.readers.reader_study import ReaderStudy
from chexkeras.evaluation.readers.roe_metz import simulate_reader_study
from chexkeras.evaluation.uncertainty.intervals import auc_interval, auc_variance


def coarse(study, points=5):
    """Returns the study with ratings on a scale of so many points, so that there are ties."""
    rows = study.to_frame()
    return ReaderStudy.of(rows.assign(rating=np.ceil(rows["rating"] / (100 / points))))


def small(groups=None, images_each=1, seed=5):
    modalities = {"a": 0.8, "b": 0.7} if groups is None or len(groups) == 2 else {"a": 0.8, "b": 0.7, "c": 0.75}
    images = (6, 8)
    return coarse(simulate_reader_study(modalities, readers=3, images=images, images_each=images_each, groups=groups,
                                        seed=seed))  # fmt: skip


def readings_of(study):
    """Returns {(modality, reader): {patient: (truth, rating)}} of a study with one image a patient."""
    return {
        key: {row.patient_id: (row.truth, row.rating) for row in rows.itertuples()}
        for key, rows in study.to_frame().groupby(["modality", "reader"])
    }


def kernel(positive, negative):
    return 1.0 if positive > negative else 0.5 if positive == negative else 0.0


def pairs_of(read):
    return {
        (p, n): kernel(read[p][1], read[n][1])
        for p in read for n in read if read[p][0] == 1 and read[n][0] == 0
    }  # fmt: skip


def slow_unbiased(one, other):
    """Product of both areas minus the mean product of pairs without a common patient, all pairs of pairs one by one."""
    first, second = pairs_of(one), pairs_of(other)
    apart = [x * y for (p, n), x in first.items() for (q, m), y in second.items() if p != q and n != m]
    return np.mean(list(first.values())) * np.mean(list(second.values())) - np.mean(apart)


def slow_delong(one, other):
    """DeLong et al. 1988, from the mean of each patient's pairs; patients of one reading only contribute nothing."""
    total = 0.0
    for place in (0, 1):
        ends = []
        for read in (one, other):
            pairs = pairs_of(read)
            area = np.mean(list(pairs.values()))
            members = sorted({pair[place] for pair in pairs})
            ends.append({who: np.mean([value for pair, value in pairs.items() if pair[place] == who]) - area
                         for who in members})  # fmt: skip
        sizes = [len(end) for end in ends]
        common = set(ends[0]) & set(ends[1])
        total += sum(ends[0][who] * ends[1][who] for who in common) / np.sqrt(
            sizes[0] * (sizes[0] - 1) * sizes[1] * (sizes[1] - 1)
        )
    return total


def slow_jackknife(one, other):
    """Leaves out one patient after the other and measures again."""
    ends = []
    for read in (one, other):
        without = {
            gone: np.mean(list(pairs_of({p: v for p, v in read.items() if p != gone}).values())) for gone in read
        }
        mean = np.mean(list(without.values()))
        ends.append({gone: value - mean for gone, value in without.items()})
    factor = np.sqrt(np.prod([(len(end) - 1) / len(end) for end in ends]))
    return factor * sum(ends[0][who] * ends[1][who] for who in set(ends[0]) & set(ends[1]))


@pytest.mark.parametrize("groups", [None, (0, 1), (0, 1, 1)])
@pytest.mark.parametrize(
    ("covariance", "slow"), [("delong", slow_delong), ("unbiased", slow_unbiased), ("jackknife", slow_jackknife)]
)
def test_covariances_are_what_their_definitions_say(groups, covariance, slow):
    study = small(groups)
    values, matrix = figures_of_merit(study, covariance=covariance)
    readings = readings_of(study)
    for one, other in itertools.product(values.index, repeat=2):
        assert values[one] == pytest.approx(np.mean(list(pairs_of(readings[one]).values())), abs=1e-12)
        assert matrix.loc[one, other] == pytest.approx(slow(readings[one], readings[other]), abs=1e-12), (one, other)
    apart = [(one, other) for one, other in itertools.product(values.index, repeat=2)
             if groups and groups["abc".index(one[0])] != groups["abc".index(other[0])]]  # fmt: skip
    assert all(matrix.loc[pair] == 0.0 for pair in apart)


def test_areas_counted_by_hand():
    # Reader A: pairs 4>1, 4>2, 2>1 are won, 2 against 2 is a tie: 3.5 of 4. Reader B: 3>2, 3>1, 2=2, 2>1: 3.5 of 4.
    rows = [("A", "p", 1, 4), ("A", "q", 1, 2), ("A", "r", 0, 1), ("A", "s", 0, 2),
            ("B", "p", 1, 3), ("B", "q", 1, 2), ("B", "r", 0, 2), ("B", "s", 0, 1)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["reader", "image_id", "truth", "rating"]).assign(modality="film")
    values, matrix = figures_of_merit(ReaderStudy.of(table))
    assert values.tolist() == [0.875, 0.875]
    # Placements of A: positives 1, .75, negatives 1, .75: each class varies by 2 x .125^2 / (1 x 2).
    assert matrix.iloc[0, 0] == pytest.approx(2 * 0.125**2 / 2 * 2)
    # B's negatives r, s have .75, 1 where A's have 1, .75, so the classes cancel.
    assert matrix.iloc[0, 1] == pytest.approx(0.0, abs=1e-15)


def test_the_unbiased_covariance_is_right_on_average_over_every_sample_there_is():
    # Four kinds of patients, drawn with equal chances: two positive, two negative, as two readers in two modalities see
    # them. Every possible sample of two and three is looked at.
    positive, negative = [(3, 1, 2, 2), (1, 2, 3, 1)], [(1, 2, 1, 3), (2, 1, 2, 1), (0, 0, 1, 2)]
    areas, found = [], []
    for drawn in itertools.product(itertools.product(positive, repeat=2), itertools.product(negative, repeat=2)):
        rows = [
            {"reader": f"r{view % 2}", "modality": f"m{view // 2}", "image_id": f"{truth}{place}", "truth": truth,
             "rating": seen[view]}
            for truth, kinds in ((1, drawn[0]), (0, drawn[1])) for place, seen in enumerate(kinds) for view in range(4)
        ]  # fmt: skip
        values, matrix = figures_of_merit(ReaderStudy.of(pd.DataFrame(rows)), covariance="unbiased")
        areas.append(values.to_numpy())
        found.append(matrix.to_numpy())
    np.testing.assert_allclose(np.mean(found, axis=0), np.cov(np.array(areas).T, bias=True), atol=1e-12)
    biased = [figures[0] for figures in found]
    assert np.std(biased) > 0


@pytest.mark.parametrize("covariance", ["delong", "unbiased", "jackknife"])
@pytest.mark.parametrize(("figure", "truth"), [("sensitivity", 1), ("specificity", 0)])
def test_shares_have_the_covariances_of_shares(figure, truth, covariance):
    study = small()
    values, matrix = figures_of_merit(study, figure, threshold=3, covariance=covariance)
    rows = study.to_frame()
    rows = rows[rows["truth"] == truth].assign(right=lambda part: (part["rating"] >= 3) == bool(truth))
    wide = rows.pivot(index="image_id", columns=["modality", "reader"], values="right").astype(float)
    np.testing.assert_allclose(values, wide.mean())
    # With one image a patient all three ways are the covariance of two means.
    np.testing.assert_allclose(matrix, wide.cov() / len(wide), atol=1e-12)


@pytest.mark.parametrize("covariance", ["delong", "jackknife"])
def test_several_images_of_a_patient_agree_as_they_like(covariance):
    study = small(images_each=2)
    rows = study.to_frame()
    areas, matrix = figures_of_merit(study, covariance=covariance)
    for modality, reader in areas.index:
        own = rows[(rows["modality"] == modality) & (rows["reader"] == reader)]
        if covariance == "delong":
            area, variance = auc_variance(own["truth"], own["rating"], clusters=own["patient_id"])
        else:
            without = [auc(rest["truth"], rest["rating"])
                       for rest in (own[own["patient_id"] != gone] for gone in own["patient_id"].unique())]  # fmt: skip
            area, variance = auc(own["truth"], own["rating"]), 6 / 7 * len(without) * np.var(without)
        assert areas[modality, reader] == pytest.approx(area)
        assert matrix.loc[(modality, reader), (modality, reader)] == pytest.approx(variance)


def test_a_patient_with_positive_and_negative_images_is_left_out_whole():
    rows = small().to_frame()
    rows["patient_id"] = rows["image_id"].map({image: f"p{n % 5}" for n, image in enumerate(rows["image_id"].unique())})
    study = ReaderStudy.of(rows)
    found = figures_of_merit(study, covariance="jackknife")[1]
    by_function = figures_of_merit(study, auc, covariance="jackknife")[1]
    np.testing.assert_allclose(found, by_function, atol=1e-12)


@pytest.mark.parametrize(("figure", "threshold"), [("sensitivity", 3), ("specificity", 2)])
def test_shares_of_several_images_a_patient_are_ratios_of_sums(figure, threshold):
    study = small(images_each=2)
    values, matrix = figures_of_merit(study, figure, threshold=threshold)
    again = figures_of_merit(study, figure, threshold=threshold, covariance="jackknife")[1]
    rows = study.to_frame()
    label = float(figure == "sensitivity")
    own = rows[(rows["truth"] == label) & (rows["modality"] == "a") & (rows["reader"] == "reader 1")]
    right = (own["rating"] >= threshold) == bool(label)
    sums, patients = right.groupby(own["patient_id"]).sum(), own["patient_id"].nunique()
    residuals = sums - 2 * right.mean()
    by_hand = patients / (patients - 1) * (residuals**2).sum() / len(own) ** 2
    assert matrix.iloc[0, 0] == pytest.approx(by_hand)
    # With equally many images a patient the jackknife says the same.
    np.testing.assert_allclose(matrix, again, atol=1e-12)
    assert values.iloc[0] == pytest.approx(right.mean())


def test_any_function_can_be_the_figure():
    study = small()

    def youden(labels, ratings):
        return float(np.mean(ratings[labels == 1] >= 3) + np.mean(ratings[labels == 0] < 3) - 1)

    values, matrix = figures_of_merit(study, youden, covariance="jackknife")
    parts = [
        figures_of_merit(study, name, threshold=3, covariance="jackknife") for name in ("sensitivity", "specificity")
    ]
    np.testing.assert_allclose(values, parts[0][0] + parts[1][0] - 1)
    # Positives and negatives are different patients; each is left out of all 14, not of its own class.
    np.testing.assert_allclose(
        matrix, 13 / 14 * (6 / 5 * parts[0][1] + 8 / 7 * parts[1][1]), atol=1e-12
    )  # fmt: skip


def test_covariances_do_not_depend_on_the_scale_of_ratings():
    study = small()
    rows = study.to_frame()
    for covariance in ("delong", "unbiased", "jackknife"):
        one = figures_of_merit(study, covariance=covariance)[1]
        other = figures_of_merit(ReaderStudy.of(rows.assign(rating=np.exp(rows["rating"]))), covariance=covariance)[1]
        np.testing.assert_allclose(one, other, atol=1e-15)


def test_many_pairs_are_added_up_in_parts(monkeypatch):
    from chexkeras.evaluation.readers import figures_of_merit as module

    whole = figures_of_merit(small(), covariance="unbiased")[1]
    monkeypatch.setattr(module, "_PAIRS_AT_ONCE", 100)
    np.testing.assert_allclose(figures_of_merit(small(), covariance="unbiased")[1], whole, atol=1e-14)


def test_the_variance_of_one_reader_is_that_of_the_ordinary_interval():
    study = simulate_reader_study({"film": 0.8}, readers=1, images=(40, 40), seed=2)
    values, matrix = figures_of_merit(study)
    rows = study.to_frame()
    area, variance = auc_variance(rows["truth"], rows["rating"])
    assert (values.iloc[0], matrix.iloc[0, 0]) == (pytest.approx(area), pytest.approx(variance))
    assert auc_interval(rows["truth"], rows["rating"]).value == pytest.approx(area)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"figure": "auc"}, "figure='auc'; did you mean 'auroc'"),
        ({"covariance": "bootstrap"}, "covariance='bootstrap'"),
        ({"figure": auc}, 'covariance="delong" knows auroc, sensitivity, specificity; for a function'),
        ({"figure": "sensitivity"}, "sensitivity needs threshold="),
        ({"figure": "specificity", "threshold": np.nan}, "specificity needs threshold="),
        ({"threshold": 3}, "an area under the ROC curve has no threshold"),
        ({"figure": lambda labels, ratings: "much", "covariance": "jackknife"}, "returned 'much' in a; one number"),
        ({"figure": lambda labels, ratings: np.nan, "covariance": "jackknife"}, "returned nan in a"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        figures_of_merit(small(), **arguments)


def test_the_unbiased_covariance_needs_one_image_a_patient():
    with pytest.raises(ValueError, match='a has patients with several: give covariance="delong" or "jackknife"'):
        figures_of_merit(small(images_each=2), covariance="unbiased")


def test_one_class_cannot_be_measured():
    rows = small().to_frame()
    with pytest.raises(ValueError, match="cannot be estimated: no positive image in a"):
        figures_of_merit(ReaderStudy.of(rows[rows["truth"] == 0]))
    kept = (rows["truth"] == 0) | (rows["image_id"] == "image 00001")
    with pytest.raises(ValueError, match="only one patient with a positive image in a"):
        figures_of_merit(ReaderStudy.of(rows[kept]))
    assert figures_of_merit(ReaderStudy.of(rows[rows["truth"] == 0]), "specificity", threshold=3)[0].notna().all()


@pytest.mark.parametrize("threshold", ["0.5", True, float("nan"), None])
def test_a_threshold_that_is_no_number_is_refused(threshold):
    study = simulate_reader_study({"film": 0.8}, readers=2, images=(5, 5))
    with pytest.raises(ValueError, match=r"needs threshold=|threshold=.* must be a number"):
        figures_of_merit(study, "sensitivity", threshold=threshold)
