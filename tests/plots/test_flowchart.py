import pytest

from chexkeras import plots
from chexkeras.evaluation.thresholds import choose_threshold
from chexkeras.plots.flowchart import steps
from chexkeras.recipes.recipe import Recipe

STAGES = [
    {"stage": "stage1", "trainable_parameters": 10, "frozen_parameters": 90},
    {"stage": "stage2", "trainable_parameters": 1234, "frozen_parameters": 5678},
]


@pytest.fixture
def point():
    return choose_threshold(None, rule="fixed", target=0.4321, finding="Pneumonia")


def _all_text(ax):
    return " ".join(" ".join(text.get_text().split()) for text in ax.texts)


def test_the_chart_shows_the_configuration_that_was_run(point):
    recipe = Recipe(image_size=192, weights=None, targets=("Pneumonia", "Mass"))
    text = _all_text(plots.flowchart(recipe, stages=STAGES, points=[point], note="Synthetic."))
    for expected in (
        "192 × 192",
        "DenseNet121",
        "untrained",
        "1,234",
        "5,678",
        "Pneumonia, Mass",
        "0.4321",
        "Synthetic.",
    ):
        assert expected in text
    assert "Rejected" in text


def test_a_model_kept_from_an_earlier_stage_shows_what_was_trained_of_it(point):
    text = _all_text(plots.flowchart(Recipe(), stages=STAGES, points=[point], kept="stage1"))
    assert "kept from stage1 (stage2 run, not kept): 10 parameters trained, head included, and 90 frozen" in text
    assert "1,234" not in text
    for kept in ("stage2", None, "of another run"):
        assert "last stage: 1,234 parameters trained" in _all_text(plots.flowchart(Recipe(), stages=STAGES, kept=kept))


def test_a_dict_will_do_and_an_unset_threshold_is_said_to_be_so():
    text = _all_text(plots.flowchart(Recipe().to_dict()))
    assert "no threshold was chosen" in text
    assert "ImageNet" in text


def test_several_thresholds_and_many_findings_are_counted_not_listed(point):
    recipe = Recipe(targets=("Pneumonia", "Mass", "Nodule", "Hernia", "Edema"))
    flow = {step.name: step.detail for step in steps(recipe, STAGES, [point, point])}
    assert "2 frozen thresholds" in flow["Threshold"]
    assert "Pneumonia, Mass, Nodule and 2 more" in flow["Score"]


def test_no_text_leaves_its_box(point):
    ax = plots.flowchart(
        Recipe(targets=("Pleural_Thickening",) + ("Mass", "Nodule", "Hernia")), stages=STAGES, points=[point]
    )
    ax.figure.draw_without_rendering()
    boxes = {patch.get_label(): patch.get_window_extent() for patch in ax.patches if patch.get_label()}
    names = [text for text in ax.texts if text.get_text() in boxes]
    assert len(names) == len(boxes) == 11
    for name in names:
        detail = ax.texts[ax.texts.index(name) + 1]
        outer = boxes[name.get_text()]
        for text in (name, detail):
            inner = text.get_window_extent()
            assert outer.x0 <= inner.x0 and inner.x1 <= outer.x1, text.get_text()
            assert outer.y0 <= inner.y0 and inner.y1 <= outer.y1, text.get_text()
        assert detail.get_window_extent().y1 <= name.get_window_extent().y0 + 1
