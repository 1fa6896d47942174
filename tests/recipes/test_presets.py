import json

import numpy as np
import pytest

from chexkeras.data.splits import splitters
from chexkeras.findings import ABNORMAL, CHEXPERT5, CHEXPERT14, NIH14
from chexkeras.models.weights.sources import WEIGHTS
from chexkeras.recipes import presets
from chexkeras.recipes.overrides import with_settings
from chexkeras.recipes.presets.source import Claim, Preset, Source, by_name
from chexkeras.recipes.recipe import Recipe, Stage

REFERENCE = (
    "udacity-1a", "udacity-1b", "udacity-2a", "udacity-2b", "chexvision-densenet", "chexvision-scratch", "team20-full",
    "team20-frozen", "team20-finetune", "kufel-effnet", "hborhan-r1", "hborhan-r2", "hborhan-r3", "hborhan-vgg16",
    "hborhan-resnet50", "chexnet", "chexkeras",
)  # fmt: skip


def read_back(text):
    """Builds a recipe from what `explain` prints, starting from one that has only the names of the stages."""
    lines = [line.strip() for line in text.split("Recipe (", 1)[1].splitlines()[1:]]
    stages = dict.fromkeys(line.split(".")[0] for line in lines if line.startswith("stage"))
    blank = Recipe(stages=tuple(Stage(name, epochs=1, learning_rate=1.0) for name in stages))
    return with_settings(blank, lines)


def test_every_reference_system_and_the_earlier_names_are_there():
    assert set(REFERENCE) <= set(presets.names())
    assert {"two-stage", "demo", "quick"} <= set(presets.names())
    with pytest.raises(ValueError, match="did you mean 'udacity-2a'"):
        presets.preset("udacity-2A")


@pytest.mark.parametrize("name", presets.names())
def test_the_saved_recipe_is_what_the_explanation_says(name, tmp_path):
    recipe = presets.preset(name)
    saved = Recipe.load(recipe.save(tmp_path / "recipe.json"))
    assert saved == recipe
    assert recipe.name == name
    assert read_back(presets.explain(name)) == saved


@pytest.mark.parametrize("name", presets.names())
def test_the_table_says_the_same(name):
    recipe, row = presets.preset(name), presets.table().set_index("preset").loc[name]
    assert (row["image_size"], row["batch_size"]) == (recipe.image_size, recipe.batch_size)
    assert (row["backbone"], row["head"], row["loss"]) == (recipe.backbone, recipe.head, recipe.loss.name)
    assert row["weights"] == (recipe.weights or "untrained")
    assert recipe.weights in (None, *WEIGHTS)
    shown = [stage.split(": ") for stage in row["stages"].split("; ")]
    assert [stage for stage, _ in shown] == [stage.name for stage in recipe.stages]
    for (_, text), stage in zip(shown, recipe.stages, strict=True):
        epochs, rate, what = text.split(" ")[0], text.split(" at ")[1].split(",")[0], text.split(", ")[1]
        assert (int(epochs), float(rate)) == (stage.epochs, stage.learning_rate)
        share = 0.0 if what == "head alone" else float(what.removeprefix("top ").removesuffix("%")) / 100
        assert share == pytest.approx(stage.trainable)
    changes = {} if row["augment"] == "none" else dict(entry.split("=") for entry in row["augment"].split(", "))
    for field, value in recipe.augment.to_dict().items():
        default = Recipe().augment.to_dict()[field]
        assert (field in changes) == (value != default)
        if field in changes:
            assert json.loads(changes[field]) == value
    targets = row["targets"]
    assert targets == recipe.targets[0] or int(targets.split()[0]) == len(recipe.targets)


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_says_where_it_is_from_and_how_its_source_split(name):
    source, text = presets.source(name), " ".join(presets.explain(name).split())
    for stated in (source.system, source.where, source.data, source.protocol, *source.chosen, *source.differs):
        assert " ".join(stated.split()) in text
    for claim in source.claims:
        assert str(claim) in text
    if source.split is None:
        with pytest.raises(ValueError, match="does not state how it divided its images"):
            presets.as_run_split(name)
    else:
        kind = presets.as_run_split(name)
        made_by = {"official": "official_split", "official_image": "official_split_by_image"}
        assert kind in splitters.KINDS
        assert hasattr(splitters, made_by.get(kind, f"split_by_{kind}"))
        assert ("leaky" in text) == source.leaky == (kind in ("image", "official_image"))


def test_a_mean_is_the_mean_of_its_findings():
    found = [claim for name in presets.names() for claim in presets.source(name).claims if claim.by_finding]
    assert len(found) == 5
    for claim in found:
        assert np.mean([value for _, value in claim.by_finding]) == pytest.approx(claim.low, abs=5e-5)


def test_the_pneumonia_experiments_differ_in_what_they_say_they_differ_in():
    shares = [[stage.trainable for stage in presets.preset(f"udacity-{which}").stages] for which in ("1a", "2a", "2b")]
    assert shares == [[0.0], [0.0, 0.2], [0.0, 0.35]]
    first, second = presets.preset("udacity-1a"), presets.preset("udacity-1b")
    assert first.augment != second.augment
    assert first == second.replace(name="udacity-1a", augment=first.augment)


def test_the_two_stage_pneumonia_recipe_is_the_one_it_always_was():
    recipe = presets.preset("udacity-2a")
    assert [(stage.epochs, stage.learning_rate, stage.trainable) for stage in recipe.stages] == [
        (17, 1e-3, 0.0),
        (15, 1e-5, 0.2),
    ]
    assert (recipe.batch_size, recipe.image_size, recipe.head, recipe.augment.flip) == (32, 224, "three_layer", True)
    assert (recipe.operating_point.rule, recipe.operating_point.target) == ("fixed", 0.4)
    assert recipe.seed == 0


def test_the_second_task_weighs_half_of_the_mean_over_the_findings():
    recipe = presets.preset("chexvision-densenet")
    assert recipe.targets == (*NIH14, ABNORMAL)
    weights = dict(recipe.loss.target_weights)
    # The loss is the mean over all targets: each finding has the share 1 / 15, and the source wants 1 / 14 to 1 / 2.
    finding, second = 1 / len(recipe.targets), weights[ABNORMAL] / len(recipe.targets)
    assert second / finding == pytest.approx((1 / 2) / (1 / 14))
    smooth = recipe.loss.label_smoothing
    assert (1 - smooth + smooth / 2, smooth / 2) == pytest.approx((0.95, 0.05))
    assert sum(stage.epochs for stage in recipe.stages) == 60
    assert recipe.batch_size * recipe.stages[1].accumulate == 96


def test_how_a_source_read_chexpert_is_said_in_arguments_that_the_loader_takes():
    import ast
    import inspect

    from chexkeras.data.datasets.chexpert import VIEWS, load_chexpert
    from chexkeras.data.datasets.labels import BLANKS, policies

    found = 0
    for name in presets.names():
        reading, text = presets.source(name).reading, " ".join(presets.explain(name).split())
        if reading is None:
            assert set(presets.preset(name).targets) <= {*NIH14, ABNORMAL}
            assert "load_chexpert" not in text
            continue
        found += 1
        call = text[text.index("load_chexpert(") :]
        call = call[: call.index(")") + 1]
        given = {word.arg: ast.literal_eval(word.value) for word in ast.parse(call).body[0].value.keywords}
        assert given == reading.options
        assert set(given) <= set(inspect.signature(load_chexpert).parameters)
        assert given["views"] in VIEWS
        assert given["blank"] in BLANKS
        policies(given["uncertain"], CHEXPERT14)
        assert (given["uncertain"] == "multiclass") == (presets.preset(name).head == "three_way")
        assert set(presets.preset(name).targets) <= set(CHEXPERT14)
        assert set(CHEXPERT5) <= set(presets.preset(name).targets)
    assert found == 11


def test_how_sources_read_chexpert_is_what_their_papers_and_code_say():
    read = {name: presets.source(name).reading for name in presets.names() if presets.source(name).reading}
    everything_as_present = {name for name, reading in read.items() if reading.options["uncertain"] == "ones"}
    assert everything_as_present == {*read} - {"chexpert-multiclass", "libauc-chexpert"}
    assert {name for name, reading in read.items() if reading.views == "all"} == {
        "chexpert-uones", "chexpert-multiclass", "team20-full", "team20-frozen", "team20-finetune",
    }  # fmt: skip
    assert {reading.blank for reading in read.values()} == {"negative"}


def test_the_shares_are_those_that_the_protocol_states_in_words():
    stated = {
        "udacity-2a": ("70/15/15 %", 0.15, 0.15),
        "hborhan-vgg16": ("80/10/10 %", 0.1, 0.1),
        "chexnet": ("70 % training, 10 % validation and 20 % test", 0.1, 0.2),
        "chexnet-sgd": ("70 % training, 10 % validation and 20 % test", 0.1, 0.2),
        "xrv-densenet": ("80 % training and 20 % test", None, 0.2),
    }
    for name, (words, *shares) in stated.items():
        source = presets.source(name)
        assert words in source.protocol
        assert [source.validation, source.test] == shares
    # 8,557 of the 86,524 images that are not in the official test list: a tenth of them, by a hash.
    assert presets.source("chexvision-densenet").validation == pytest.approx(8_557 / (77_967 + 8_557), abs=0.002)
    assert "official test list was left alone; 10 % validation (of the other images)" in " ".join(
        presets.explain("chexvision-scratch").split()
    )
    assert "several parts; 10 % validation, 10 % test. 191,229" in " ".join(presets.explain("hborhan-r1").split())


def test_facts_that_a_preset_must_tell():
    repeated = " ".join(presets.explain("hborhan-r3").split())
    for fact in ("Lung Opacity, Pleural Effusion and Support Devices were left out", "497,398", "macro F1 0.67 on"):
        assert fact in repeated
    assert "model card chexvision-scratch." in presets.source("chexvision-scratch").where + "."
    assert "model card chexvision-densenet." in presets.source("chexvision-densenet").where + "."
    for name in ("udacity-1a", "udacity-1b", "udacity-2a", "udacity-2b"):
        assert "focal loss is named as an option, but none of them used it" in presets.source(name).protocol


def test_two_presets_of_one_name_and_a_split_that_does_not_exist_are_refused():
    entry = Preset(Recipe(), Source("a", "b", "c", None, "d", claims=(Claim("AUROC", 0.5, "x"),)))
    with pytest.raises(ValueError, match="two presets are called 'own'"):
        by_name((entry, entry))
    with pytest.raises(ValueError, match="did you mean 'patient'"):
        Source("a", "b", "c", "patients", "d")
    with pytest.raises(ValueError, match="validation=10 must lie"):
        Source("a", "b", "c", "patient", "d", validation=10)
