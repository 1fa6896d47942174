"""Every public function, constructor and method with wrong arguments, one parameter after the other.

What comes back is a result, or an error that this package raises on purpose, as a sentence that says what is wrong. An
error from the depths of pandas or Keras tells nobody which argument to change.
"""

import ast
import dataclasses
import functools
import inspect
import math
import shutil
import traceback
import typing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import chexkeras as cx
from chexkeras import _lazy
from chexkeras.arguments import WrongArgument
from chexkeras.evaluation.rates import rates_from_counts

ROOT = Path(cx.__file__).parent
WRONG = {
    "None": None, "a word": "nonsense", "no word": "", "a whole number": 3, "a negative number": -1.5,
    "a large number": 1e9, "not a number": math.nan, "True": True, "an empty list": [], "a list of words": ["x", "y"],
    "a list of numbers": [0.5, 3.0], "a list of None": [None], "an empty table": pd.DataFrame(),
    "another table": pd.DataFrame({"a": [1, 2]}), "an empty dict": {}, "a dict of numbers": {"x": 1.0},
    "a dict of words": {"x": "y"}, "a path to nothing": Path("nowhere/nothing.csv"), "an object": object(),
    "an array of words": np.array(["a", "b"]), "an array of three dimensions": np.zeros((2, 2, 2)), "a class": int,
    "a function": len, "bytes": b"x",
}  # fmt: skip
# Whose work takes long even where nothing is wrong: only what cannot fit any parameter.
COSTLY = {
    "train", "score_folder", "measure_robustness", "run_demo", "make_phantoms", "prepare", "explain",
    "explanation.study_heatmaps", "explanation.check_maps", "fill_uncertain_from", "phantoms.make_chexpert_phantoms",
    "phantoms.write_dicom_folder", "write_report", "write_model_card", "report.open_fields", "report.collect_facts",
    "evaluation.simulate_reader_study_power", "evaluation.simulate_triage", "evaluation.triage_effect",
    "inference.predict_augmented", "inference.load_engine", "models.predict_scores", "models.adapt_batchnorm",
    "plots.draw_comparison", "Predictor.predict", "Predictor.records", "Predictor.load", "Predictor.score",
    "Ensemble.predict", "models.build_classifier", "check_report", "evaluation.simulate_reader_study", "plots.images",
    "audit", "data.shortcuts", "evaluate_by_readers", "run_from_model", "Run.from_model",
    "evaluation.sample_size_reader_study", "evaluation.sample_size_reader_lower_bound", "find_data",
    "evaluate_external", "data.site_shortcuts", "inference.measure_novelty", "plots.file_images",
    "cross_validate", "train_seeds", "sweep", "app", "evaluation.find_suspects", "page.make_page", "page.export_space",
    "dicom.ReaderPool", "dicom.ReaderPool.read", "models.partition", "evaluation.latent_truth", "find_run",
    "inference.write_objects",
}  # fmt: skip
# Classes whose objects users make themselves; the others come from functions.
MADE_BY_USERS = {
    "Recipe", "Stage", "Run", "Predictor", "data.Augmentation", "data.Perturbation", "dicom.ReadOptions",
    "evaluation.PublishedResult", "evaluation.RatingModel", "inference.TestTimeAugmentation", "recipes.Loss",
    "recipes.ThresholdRule", "report.PerformanceGoals", "inference.DicomOutput",
}  # fmt: skip
# Keras calls these itself.
KERAS_OWN = ("models.AsymmetricLoss", "models.AucMarginLoss", "models.FocalLoss", "models.ThreeWay", "models.Weighted")


def rooms():
    return [cx, cx.presets, *(getattr(cx, room) for room in (*_lazy.ROOMS, "results"))]


@functools.cache
def public_calls():
    """Returns by label every public function, class and public method: the function, and the class it belongs to."""
    found = {}
    for room in rooms():
        place = room.__name__.removeprefix("chexkeras").strip(".")
        for name in room.__all__:
            thing, label = getattr(room, name), f"{place}.{name}".strip(".")
            if inspect.isfunction(thing):
                found.setdefault(thing, (label, None))
            elif inspect.isclass(thing) and not label.startswith(KERAS_OWN):
                if label in MADE_BY_USERS:
                    found.setdefault(thing, (label, None))
                for method, owner in methods(thing).items():
                    found.setdefault(owner, (f"{label}.{method}", thing))
    return {label: (call, owner) for call, (label, owner) in found.items()}


def methods(owner):
    """Returns the public methods that a class of this package has of its own, by name."""
    return {
        name: getattr(member, "__func__", member)
        for name, member in vars(owner).items()
        if (not name.startswith("_") or name == "__getitem__")
        and inspect.isfunction(getattr(member, "__func__", member))
        and not any(name in vars(base) for base in owner.__mro__[1:] if not base.__module__.startswith("chexkeras"))
    }


def parameters(call, owner):
    found = list(inspect.signature(call).parameters.values())
    return found[1:] if owner and found and found[0].name in ("self", "cls") else found


def takes_keywords(call):
    return any(each.kind is inspect.Parameter.VAR_KEYWORD for each in inspect.signature(call).parameters.values())


def test_every_public_function_and_method_is_checked():
    unchecked = [
        label
        for label, (call, owner) in public_calls().items()
        if inspect.isfunction(call) and parameters(call, owner) and not hasattr(call, "__wrapped__")
    ]
    assert not unchecked


@functools.cache
def raising_lines(file):
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def fault(error):
    """Returns what is wrong with an error that a person gets, or ""."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    if not Path(last.filename).is_relative_to(ROOT):
        return f"raised in {last.filename}:{last.lineno}: {error!r:.200}"
    if isinstance(error, cx.DicomRejected):
        # Says which rule was broken, by what.
        return ""
    if last.lineno not in raising_lines(last.filename):
        return f"not raised on purpose at {last.filename}:{last.lineno}: {error!r:.200}"
    text = str(error.args[0] if error.args else "")
    if len(text.split()) < 4 or text.strip()[-1:] not in (".", "?"):
        return f"no sentence: {text!r:.300} at {last.filename}:{last.lineno}"
    return ""


class Samples:
    """What fits the parameters of public functions, made of a run on toy images.

    Args:
        run: The run.
        table: The image table that it was trained from.
        folder: Where paths that may be written to point.
    """

    def __init__(self, run, table, folder):
        rng = np.random.default_rng(0)
        scores, finding = run.scores("test"), run.recipe.targets[0]
        scores = scores[scores["finding"] == finding].reset_index(drop=True)
        n = len(scores)
        estimate = cx.Estimate(0.8, 0.7, 0.9, n=100)
        ratings = pd.DataFrame(rng.integers(0, 2, (20, 3)).astype(float), columns=list("ABC"))
        ratings.index = [f"i{at}" for at in range(20)]
        truth = np.tile([0, 1], 15)
        readings = pd.DataFrame(
            [
                (reader, modality, f"i{at}", truth[at], truth[at] + rng.normal())
                for reader in "PQR"
                for modality in ("film", "device")
                for at in range(30)
            ],
            columns=["reader", "modality", "image_id", "truth", "rating"],
        )
        marks = pd.DataFrame(
            [("a", 4, "1"), ("a", 1, "2"), ("b", 3, None), ("c", 3, None), ("d", 2, None)],
            columns=["image_id", "rating", "lesion"],
        )
        lesions = pd.DataFrame({"image_id": list("aab"), "lesion": list("121")})
        images = pd.DataFrame({"image_id": list("abcde"), "patient_id": list("pqrst")})
        published = [
            cx.evaluation.PublishedResult(
                f"e{at}", "as it was", "Mass", 40 + at, 20, 30, 100, 0.5, (0.7, 0.8), "test", "a table"
            )
            for at in range(2)
        ]
        read_study = cx.evaluation.ReaderStudy.of(readings)
        comparisons = cx.compare(scores, scores)
        point = run.operating_points[0]
        groups = run.table.set_index("image_id")["sex"]
        maps = cx.explanation.Heatmaps(
            np.ones((n, 1, 4, 4), np.float32), np.full((n, 1), 0.5, np.float32), tuple(scores["image_id"]),
            (finding,), "gradcam", "layer", "logit", 32,
        )  # fmt: skip
        peaks = {"a": np.array([[1.0, 2.0, 0.5]])}
        self.finding = finding
        self._rates = rates_from_counts(40, 10, 20, 100)
        boxes = pd.DataFrame(
            {"image_id": scores["image_id"][:3], "finding": finding, "x_px": 1.0, "y_px": 1.0, "width_px": 9.0,
             "height_px": 9.0}
        )  # fmt: skip
        boxes.attrs["image_px"] = 48
        splits = cx.Splits.load(run.folder / "splits.csv", table)
        self.by_type = {
            cx.Recipe: run.recipe, cx.Splits: splits, cx.Run: run, cx.Estimate: estimate, cx.OperatingPoint: point,
            cx.Evaluation: run.evaluation, cx.evaluation.ReaderStudy: read_study, cx.explanation.Heatmaps: maps,
            cx.evaluation.LocalizationStudy: cx.evaluation.LocalizationStudy.of(marks, lesions, images),
            cx.data.Augmentation: run.recipe.augment, cx.evaluation.PublishedResult: published[0],
            cx.results.ReaderVarianceComponents: cx.results.ReaderVarianceComponents(2e-4, 8e-4, 3e-4, 3e-4, 2e-4, 114,
                                                                                     3e-4),
            cx.recipes.SplitPlan: cx.recipes.own_split(), cx.data.TableSource: cx.data.source_of(table),
            cx.evaluation.RatingModel: cx.evaluation.RatingModel.roe_metz("LL", 0.8), cx.data.Audit: None,
            cx.results.MrmcResult: cx.evaluation.mrmc(read_study),
            cx.evaluation.PooledSites: cx.evaluation.pool_sites({"one": estimate, "two": estimate}),
            cx.results.SubgroupGaps: cx.evaluation.subgroup_gaps(scores, groups),
        }  # fmt: skip
        labels = (np.arange(n) % 2).astype(float)
        self.by_name = {
            "labels": labels, "scores": np.linspace(0, 1, n), "first_scores": np.linspace(0, 1, n), "called": labels,
            "second_scores": np.linspace(1, 0, n), "targets": finding, "finding": finding, "findings": [finding],
            "name": "one", "path": folder / "there.csv", "folder": folder, "root": folder, "run_folder": folder,
            "run_dir": folder / "new", "report_path": folder / "there.md", "markdown_path": folder / "there.md",
            "values": np.linspace(0, 1, n), "strata": labels, "shares": {0.0: 0.5, 1.0: 0.5}, "successes": labels,
            "clusters": np.arange(n), "weights": np.ones(n), "population": "all", "readings": ratings.to_numpy(),
            "prevalence": 0.1, "sensitivity": 0.8, "specificity": 0.8, "threshold": 0.5, "margin": 0.1, "n": 100,
            "expected": 0.8, "half_width": 0.05, "true": 0.9, "goal": 0.8, "first": 0.9, "second": 0.8, "new": 0.9,
            "old": 0.9, "correlation": 0.5, "n_positive": 50, "n_negative": 100, "target": 0.8, "auc": 0.8, "n_new": 90,
            "n_old": 100, "difference": 0.05, "n_readers": 5, "n_cases": 100, "standard_error": 0.02, "tp": 40,
            "fn": 10, "fp": 20, "tn": 100, "reader_range": 0.1, "within_range": 0.05, "threshold_probability": 0.2,
            "images_per_patient": [1, 2, 3], "from_prevalence": 0.2, "to_prevalence": 0.1, "train_prevalence": 0.2,
            "reference_sensitivity": 0.95, "reference_specificity": 0.95, "auroc": 0.8, "structure": "LL",
            "statistic": "auroc", "ages": [30.0, 60.0], "estimates": {"one": estimate, "two": estimate},
            "tables": {"one": scores, "two": scores}, "comparisons": [comparisons[0]], "analyses":
            run.evaluation.findings[0].subgroups, "columns": ["sex"], "groups": groups, "point": point,
            "points": list(run.operating_points), "peaks": peaks, "level": "nominal", "categories": [0, 1],
            "calls": pd.Series(1.0, index=ratings.index), "recalibrations": (), "preset": "quick", "settings": [],
            "text": "The model is fine.", "reason": "too few", "evaluations": run.evaluation, "evaluation":
            run.evaluation, "runs": {"one": scores, "two": scores}, "modality": "film", "image": maps.images[0],
            "needed_for": "this", "factors": {finding: 2}, "names": "sex", "code": "unreadable", "profile": "clinical",
            "source_name": "NIH ChestX-ray14", "thumbnails": np.zeros((4, 8, 8), np.uint8), "image_ids":
            list(table["image_id"][:2]), "part": "test", "image_column": "image_id", "label_columns": [finding],
            "arrivals_per_hour": 5.0, "reads_per_hour": 8.0, "images": images, "marks": marks, "lesions": lesions,
            "data": {}, "kind": "patient", "history": run.history, "results": pd.DataFrame({"verdict": ["accept"],
            "code": [""], "file": ["a"], "finding": [finding]}), "as_is": scores, "changed": {"x": scores},
            "shares_of": {}, "model": object(), "boxes": boxes, "ratings": ratings, "maps": maps,
            "seed": 0, "size": 32, "batch_size": 8, "image_size": 32, "layers": len, "formula": len, "scores_table":
            scores, "pixels": np.zeros((8, 8), np.uint8), "augmentation": None, "effect": None, "study": read_study,
            "tests": [], "internal": estimate, "records": [], "values_of": (), "p_value": 0.5, "stat": "auroc",
            "violations": (), "image_id": "a",
        }  # fmt: skip
        self.tables = {
            "scores": scores, "first": scores, "second": scores, "as_is": scores, "scores_table": scores,
            "ratings": ratings, "marks": marks, "lesions": lesions, "images": images, "boxes": boxes,
            "history": run.history, "results": self.by_name["results"],
        }  # fmt: skip
        self.table, self.readings = table, readings
        # The image table stands for every other table.
        self.of = {
            "evaluation.ReaderStudy.of": {"table": readings}, "plots.intensity_profile": {"shares": {"x": None}},
            "evaluation.mrmc_localization": {"study": self.by_type[cx.evaluation.LocalizationStudy]},
            "evaluation.afroc": {"study": self.by_type[cx.evaluation.LocalizationStudy]},
            "evaluation.afroc_curve": {"study": self.by_type[cx.evaluation.LocalizationStudy]},
            "evaluation.afroc_figures": {"study": self.by_type[cx.evaluation.LocalizationStudy]},
            "evaluation.froc": {"study": self.by_type[cx.evaluation.LocalizationStudy]},
            "evaluation.deployment": {"sensitivity": estimate, "specificity": estimate},
            "evaluation.compare_published": dict(zip(("first", "second"), published, strict=True)),
            "evaluation.proportion_interval": {"successes": 40},
            "evaluation.simulate_reader_study": {"auroc": {"x": 0.8}},
            "evaluation.mean_interval": {"values": labels}, "evaluation.bootstrap_interval": {"statistic": "auroc"},
            "presets.source": {"name": "quick"}, "presets.explain": {"name": "quick"}, "preset": {"name": "quick"},
            "presets.as_run_split": {"name": "udacity-2a"},
            "results.MrmcResult.difference": {"first": "device", "second": "film"},
            "results.MrmcResult.verdict": {"first": "device", "second": "film"}, "Splits.part": {"name": "test"},
            "presets.recipe_of": {"recipe": "quick"},
        }  # fmt: skip
        self.instances = {
            **self.by_type, cx.data.Audit: cx.audit(table.head(20), decode=False),
            cx.dicom.Profile: cx.dicom.find_profile("clinical"), cx.evaluation.Scores: cx.evaluation.Scores.of(scores),
            cx.data.ImageTable: cx.data.ImageTable.of(table), cx.data.Perturbation: cx.data.PERTURBATIONS[0],
            cx.results.SubgroupAnalysis: run.evaluation.findings[0].subgroups[0], cx.Stage: run.recipe.stages[0],
            cx.results.Comparison: comparisons[0], cx.recipes.Loss: run.recipe.loss,

        }  # fmt: skip

    def fitting(self, label, parameter):
        """Returns a value that fits a parameter, or `inspect.Parameter.empty` where there is none."""
        of = self.of.get(label, {})
        if parameter.name in of:
            return of[parameter.name]
        kind = parameter.annotation
        if (isinstance(kind, type) and issubclass(kind, pd.DataFrame)) or kind == "pd.DataFrame":
            return self.tables.get(parameter.name, self.table)
        kinds = kind if isinstance(kind, tuple) else (kind, *typing.get_args(kind))
        for each in kinds:
            if isinstance(each, type) and each in self.by_type and self.by_type[each] is not None:
                return self.by_type[each]
        if any(isinstance(each, type) and issubclass(each, pd.DataFrame) for each in kinds):
            return self.tables.get(parameter.name, self.table)
        return self.by_name.get(parameter.name, inspect.Parameter.empty)


def outcomes(label, call, owner, samples):
    """Yields (parameter, what was given, what is wrong with the error, or "") for every wrong value."""
    wanted = parameters(call, owner)
    plain = [each for each in wanted if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    base = {each.name: samples.fitting(label, each) for each in plain if each.default is each.empty}
    example = samples.instances.get(call) if dataclasses.is_dataclass(call) else None
    if example is not None:
        base = {each.name: getattr(example, each.name) for each in plain if each.default is each.empty}
    instance = None
    if owner is not None and not isinstance(inspect.getattr_static(owner, call.__name__), (classmethod, staticmethod)):
        instance = samples.instances.get(owner)
        if instance is None:
            return
    bound = getattr(owner if instance is None else instance, call.__name__) if owner else call
    wrong = {"an object": WRONG["an object"]} if label in COSTLY else WRONG
    for parameter in plain:
        for words, value in wrong.items():
            if "Callable" in str(parameter.annotation) and words in ("a class", "a function"):
                # Fits; what it raises when it is called is its own.
                continue
            given = {name: each for name, each in base.items() if each is not inspect.Parameter.empty}
            given[parameter.name] = value
            by_place = [
                given.pop(each.name) for each in plain if each.kind is each.POSITIONAL_ONLY and each.name in given
            ]
            try:
                with np.errstate(all="ignore"):
                    result = bound(*by_place, **given)
                if inspect.isgenerator(result):
                    list(result)
                yield parameter.name, words, ""
            except Exception as error:  # noqa: BLE001
                yield parameter.name, words, fault(error)


@pytest.fixture(scope="module")
def samples(toy_run, toy, tmp_path_factory):
    # A copy: a call that takes a wrong argument after all writes into the run.
    folder = tmp_path_factory.mktemp("wrong")
    return Samples(cx.Run.load(shutil.copytree(toy_run.folder, folder / "run")), toy, folder)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_wrong_argument_is_told_in_a_sentence(samples, tmp_path, monkeypatch):
    # What a word is taken for as a path lies here.
    monkeypatch.chdir(tmp_path)
    found = [
        f"{label}({name}={words}): {wrong}"
        for label, (call, owner) in public_calls().items()
        for name, words, wrong in outcomes(label, call, owner, samples)
        if wrong
    ]
    assert not found, f"{len(found)}:\n" + "\n".join(found)


class TestNamedMistakes:
    """What users of every kind did in their first hour."""

    def test_a_loss_is_taken_by_its_name(self):
        assert cx.preset("quick").replace(loss="focal").loss == cx.recipes.Loss("focal")
        with pytest.raises(ValueError, match="did you mean 'focal'"):
            cx.preset("quick").replace(loss="focall")

    def test_a_preset_is_taken_by_its_name_wherever_a_recipe_is(self, toy, toy_splits, tmp_path):
        # The toy images show no large heart: the recipe is looked up before that is found.
        with pytest.raises(ValueError, match="leave Cardiomegaly out of the targets"):
            cx.train("quick", toy_splits, tmp_path / "run")
        with pytest.raises(ValueError, match=r"preset='quik'; did you mean 'quick'\?"):
            cx.train("quik", toy_splits, tmp_path / "run")
        assert cx.recipes.with_settings("quick", ["seed=7"]) == cx.preset("quick").replace(seed=7)
        assert cx.recipes.source_reading("chexpert-uones", "chexpert-uones")
        table = toy.assign(Cardiomegaly=toy["Effusion"])
        plan = cx.recipes.own_split()
        named, made = (cx.recipes.split_for(table, each, plan) for each in ("quick", cx.preset("quick")))
        assert named.fingerprint == made.fingerprint

    def test_a_table_is_no_split(self, toy, tmp_path):
        with pytest.raises(
            WrongArgument, match=r"train: splits must be a Splits, not a table of 120 rows .*split_by_patient"
        ):
            cx.train("quick", toy, tmp_path / "run")

    def test_an_evaluation_is_no_run(self, toy_run, tmp_path):
        with pytest.raises(
            WrongArgument, match=r"write_report: run must be a Run or a path, not an Evaluation\..*Run\.load"
        ):
            cx.write_report(toy_run.evaluation, tmp_path / "report.md")

    def test_a_keras_layer_belongs_to_no_recipe(self):
        import keras

        with pytest.raises(ValueError, match=r"augment is a RandomFlip; expected an Augmentation.* given to cx\.train"):
            cx.preset("quick").replace(augment=keras.layers.RandomFlip())

    def test_misspelt_and_missing_arguments_are_told(self):
        with pytest.raises(WrongArgument, match="Recipe takes no argument 'epochs'"):
            cx.Recipe(epochs=3)
        with pytest.raises(WrongArgument, match=r"split_by_patient: targets is missing\. targets: "):
            cx.split_by_patient(pd.DataFrame())
