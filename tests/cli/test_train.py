"""``chexkeras train``: a preset's own labels and split, and a training that is taken up again."""

import dataclasses

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.data.datasets.nih import load_nih
from chexkeras.data.image_table import source_of
from chexkeras.phantoms import make_chexpert_phantoms, make_phantoms
from chexkeras.recipes.protocol import SplitPlan, own_split, source_split
from chexkeras.runs.run import Run

pytestmark = pytest.mark.usefixtures("run_eagerly")

SMALL = ("--preset", "quick", "--set", "backbone=SmallCNN", "--set", "image_size=32", "--set", "stage1.epochs=1")
SMALL = (*SMALL, "--set", "stage2.epochs=1")
PARTS = ("--validation", "0.25", "--test", "0.25")
TINY = ("--set", "backbone=SmallCNN", "--set", "image_size=32", "--weights", "none")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "nih"
    return make_phantoms(folder, images=60, size=64, prevalence={"Cardiomegaly": 0.5})


@pytest.fixture(scope="module")
def chexpert(tmp_path_factory):
    """Sixty phantoms in CheXpert's layout, lateral images beside some, with uncertain labels."""
    folder = tmp_path_factory.mktemp("chexpert")
    return make_chexpert_phantoms(folder, images=60, size=64, laterals=True, prevalence={"Cardiomegaly": 0.5})


@dataclasses.dataclass
class Call:
    """What `train` was called with, and what was said before."""

    recipe: object
    splits: object
    cautions: tuple
    said: str

    @property
    def source(self):
        return source_of(self.splits.table)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A function that runs the command up to the training itself, and returns what that would have done."""
    from chexkeras.training import trainer

    given = []

    def stop(recipe, splits, _, *, cautions, **options):
        given.append((recipe, splits, tuple(cautions)))
        raise ValueError("far enough")

    monkeypatch.setattr(trainer, "train", stop)

    def ask(data, preset, *options):
        result = run("train", "--data", data, "--run", tmp_path / "run", "--preset", preset, *TINY, *options)
        assert "far enough" in result.output, result.output
        return Call(*given.pop(), result.output)

    return ask


@pytest.mark.keras
def test_a_preset_of_chexpert_reads_it_as_its_source_did_also_when_it_is_taken_up_again(
    chexpert, tmp_path, monkeypatch
):
    from chexkeras.training import trainer

    def breaks(*_, **__):
        raise KeyboardInterrupt

    short = ("--set", "stage1.epochs=1", "--finding", "Cardiomegaly", *PARTS)
    command = ("train", "--data", chexpert, "--run", tmp_path / "run", "--preset", "chexpert-uones", *TINY, *short)
    line = "read as by the source of preset chexpert-uones: --views all --uncertain ones --blank negative"
    with monkeypatch.context() as patched:
        patched.setattr(trainer.finish, "write_results", breaks)
        assert line in run(*command).output
    result = run("train", "--data", chexpert, "--resume", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert line in result.output
    made = Run.load(tmp_path / "run")
    assert made.recipe.name == "chexpert-uones"
    source = made.provenance["source"]
    assert (source["views"], source["blank_policy"]) == ("all", "negative")
    assert set(source["uncertain_policy"].values()) == {"ones"}
    assert "LATERAL" in set(made.table["view"])
    assert not any("Not read as" in caution for caution in made.cautions)


@pytest.mark.keras
def test_an_option_that_is_given_wins_and_the_run_says_that_it_differs(chexpert, asked):
    found = asked(chexpert, "chexpert-uones", "--finding", "Cardiomegaly", "--uncertain", "zeros", "--views", "frontal")
    assert "read as by the source of preset chexpert-uones: --blank negative\n" in found.said
    assert found.source.views == "frontal"
    assert set(dict(found.source.uncertain_policy).values()) == {"zeros"}
    sentence = (
        "Not read as by the source of preset chexpert-uones: views frontal (there all); uncertain labels of "
        "Cardiomegaly zeros (there ones)."
    )
    assert found.cautions == (sentence,)
    assert sentence in found.said
    # What is not learnt may be read as one likes, and the same by another name is the same.
    same = ("--uncertain", "Cardiomegaly=ones", "--uncertain", "Edema=zeros", "--caution", "Mine.")
    assert asked(chexpert, "chexpert-uones", "--finding", "Cardiomegaly", *same).cautions == ("Mine.",)


@pytest.mark.keras
def test_a_policy_for_each_finding_is_taken_too(chexpert, asked):
    found = asked(chexpert, "libauc-chexpert", "--finding", "Cardiomegaly")
    policy_of = dict(found.source.uncertain_policy)
    assert {name for name, policy in policy_of.items() if policy == "ones"} == {"Edema", "Atelectasis"}
    assert {name for name, policy in policy_of.items() if policy == "zeros"} == {
        "Cardiomegaly", "Consolidation", "Pleural Effusion",
    }  # fmt: skip
    assert found.source.views == "frontal"
    assert "--uncertain Cardiomegaly=zeros --uncertain Consolidation=zeros --uncertain Edema=ones" in found.said
    assert found.cautions == ()


@pytest.mark.keras
def test_a_third_class_goes_with_a_head_that_has_one(chexpert, asked):
    one = ("--finding", "Cardiomegaly")
    kept = asked(chexpert, "chexpert-multiclass", *one)
    assert dict(kept.source.uncertain_policy)["Cardiomegaly"] == "multiclass"
    assert kept.cautions == ()
    for preset, theirs, head, loss in (
        ("chexpert-multiclass", "multiclass", "linear", "weighted_bce"),
        ("chexpert-uones", "ones", "three_way", "three_way"),
    ):
        other = asked(chexpert, preset, *one, "--set", f"head={head}", "--set", f"loss.name={loss}")
        assert dict(other.source.uncertain_policy)["Cardiomegaly"] == "ignore"
        assert other.source.views == "all"
        (caution,) = other.cautions
        assert caution.endswith(f"uncertain labels of Cardiomegaly ignore (there {theirs}).")


@pytest.mark.keras
def test_on_nihs_images_a_preset_of_chexpert_changes_nothing_and_its_own_presets_read_chexpert_as_ever(
    images, chexpert, asked
):
    found = asked(images, "chexpert-uones", "--finding", "Cardiomegaly")
    assert found.cautions == ()
    assert "read as" not in found.said
    found = asked(chexpert, "two-stage", "--finding", "Cardiomegaly")
    assert (found.source.views, set(dict(found.source.uncertain_policy).values())) == ("frontal", {"ignore"})
    assert found.cautions == ()
    assert "read as" not in found.said


@pytest.mark.keras
def test_as_run_takes_the_shares_of_the_source(chexpert, asked):
    found = asked(chexpert, "hborhan-r1", "--finding", "Cardiomegaly", "--as-run")
    assert found.splits.kind == "image"
    assert dict(found.splits.shares) == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1})
    own = asked(chexpert, "hborhan-r1", "--finding", "Cardiomegaly")
    assert own.splits.kind == "patient"
    assert own.recipe.seed == 0
    assert dict(own.splits.shares) == pytest.approx({"train": 0.7, "validation": 0.15, "test": 0.15})


@pytest.mark.keras
def test_as_run_leaves_the_official_test_list_alone_where_the_source_did_and_splits_the_rest_by_image(images, asked):
    found = asked(images, "chexvision-densenet", "--finding", "Cardiomegaly", "--finding", "Abnormal", "--as-run")
    assert found.splits.kind == "official_image"
    assert found.splits.leaky
    assert (found.recipe.seed, found.splits.seed) == (42, 42)
    assert dict(found.splits.shares) == {"validation": 0.1}
    listed = load_nih(images).set_index("image_id")["official_split"]
    assert set(found.splits.test["image_id"]) == set(listed.index[listed == "test"])


def test_how_images_are_divided_follows_from_the_options():
    assert own_split() == SplitPlan("patient", 0.15, 0.15)
    assert own_split("image", 0.2) == SplitPlan("image", 0.2, 0.15)
    assert source_split("chexnet") == SplitPlan("patient", 0.1, 0.2)
    assert source_split("chexnet", 0.1, 0.2) == SplitPlan("patient", 0.1, 0.2)
    assert source_split("xrv-densenet") == SplitPlan("patient", 0.15, 0.2)
    assert source_split("xrv-densenet", 0.1) == SplitPlan("patient", 0.1, 0.2)
    assert source_split("chexvision-scratch")[:2] == ("official_image", 0.1)
    assert source_split("chexpert-uones", 0.3)[:2] == ("official", 0.3)


def test_help_tells_the_shares_and_features_that_are_taken_by_default():
    told = {name: parameter.help for parameter in get_command(app).commands["train"].params for name in parameter.opts}
    assert told["--validation"].endswith("0.15 by default.")
    assert told["--test"].endswith("0.15 by default.")
    assert "'auto' (the default)" in told["--features"]


@pytest.mark.keras
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", 'up_sample=[["Cardiomegly", 2]]'), "unknown finding 'Cardiomegly'; did you mean 'Cardiomegaly'"),
        (("--set", 'up_sample=[["Hernia", 2]]'), "shows Hernia; there is nothing to repeat"),
        (("--set", 'balanced_batches=["Cardiomegly"]'), "unknown finding 'Cardiomegly'; did you mean 'Cardiomegaly'"),
        (("--set", 'balanced_batches=["Hernia"]'), "shows Hernia; balanced batches need images of every group"),
        (("--test", "0.9"), "leave nothing for training"),
    ],
)
def test_what_the_table_alone_rules_out_is_refused_before_an_image_is_opened(
    images, tmp_path, monkeypatch, options, message
):
    from chexkeras.data.audit import audit

    opened = []
    monkeypatch.setattr(audit, "audit", lambda *_, **__: opened.append("audit"))
    assert not load_nih(images)["Hernia"].any()
    result = run("train", "--data", images, "--run", tmp_path / "run", *SMALL, *options)
    assert result.exit_code == 2
    assert message in result.output
    assert opened == []


@pytest.mark.keras
def test_as_run_splits_as_the_source_did_and_calls_it_leaky(images, tmp_path, monkeypatch):
    from chexkeras.recipes import presets

    asked = []
    monkeypatch.setattr(presets, "as_run_split", lambda name: asked.append(name) or "image")
    result = run("train", "--data", images, "--run", tmp_path / "run", "--as-run", *SMALL, *PARTS)
    assert result.exit_code == 0, result.output
    assert asked == ["quick"]
    made = Run.load(tmp_path / "run")
    assert made.provenance["split"]["leaky"]
    assert any("LEAKY" in caution for caution in made.cautions)


@pytest.mark.keras
def test_a_training_that_broke_off_is_taken_up_with_the_run_and_the_images_alone(images, tmp_path, monkeypatch):
    from chexkeras.training import trainer

    def breaks(*_, **__):
        raise KeyboardInterrupt

    command = ("train", "--data", images, "--run", tmp_path / "run", *SMALL, *PARTS)
    with monkeypatch.context() as patched:
        patched.setattr(trainer.finish, "write_results", breaks)
        assert run(*command).exit_code != 0
    assert not (tmp_path / "run").exists()
    again = run(*command)
    assert again.exit_code == 2
    assert "--resume" in again.output or "resume" in again.output
    options = run("train", "--data", images, "--resume", tmp_path / "run", "--finding", "Mass", "--draws", "2")
    assert options.exit_code == 2
    assert "leave out --finding, --draws" in options.output
    for given in (
        ("--validation", "0.15"),
        ("--test", "0.25"),
        ("--features", "auto"),
        ("--overwrite",),
        ("--seed", 0),
    ):
        refused = run("train", "--data", images, "--resume", tmp_path / "run", *given)
        assert refused.exit_code == 2
        assert f"leave out {given[0]}." in refused.output
    result = run("train", "--data", images, "--resume", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert Run.load(tmp_path / "run").recipe.backbone == "SmallCNN"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--run", "x", "--as-run"), "give --preset, and leave out --split"),
        (("--run", "x", "--as-run", "--preset", "chexnet", "--split", "official"), "leave out --split"),
        (("--run", "x", "--as-run", "--preset", "kufel-effnet"), "does not state how it divided its images"),
        (
            ("--run", "x", "--as-run", "--preset", "hborhan-r1", "--validation", "0.15"),
            "--validation 0.15: the source of preset 'hborhan-r1' took 0.1; leave it out, or take a split of your own "
            "instead of the source's, --split image and your own shares.",
        ),
        (
            ("--run", "x", "--as-run", "--preset", "chexnet", "--test", "0.1"),
            "--test 0.1: the source of preset 'chexnet'",
        ),
        (("--run", "x", "--as-run", "--preset", "chexvision-scratch", "--test", "0.1"), "the data set's own test part"),
        (("--run", "x", "--validation", "1.5"), "--validation 1.5 must lie"),
        (("--run", "x", "--split", "random"), "--split random"),
        (("--run", "x", "--resume", "x"), "either --run"),
        ((), "either --run"),
        (("--resume", "x"), "nothing to resume"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_an_image_is_read(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("train", "--data", "nowhere", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []
