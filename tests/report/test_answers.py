import pytest

from chexkeras.report.answers import (
    QUESTIONS,
    STATED,
    Answers,
    answers_template,
    load_answers,
    question,
    write_answers_template,
)
from chexkeras.report.facts.collect import collect_facts
from chexkeras.report.goals import PerformanceGoals
from chexkeras.runs.run import Run
from tests.report.conftest import every_answer


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "submission.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_file_to_start_from_answers_nothing_and_asks_everything(tmp_path):
    path = write_answers_template(tmp_path / "submission.toml")
    assert load_answers(path).values == {}
    text = " ".join(line.lstrip("# ") for line in path.read_text().splitlines())
    for asked in QUESTIONS:
        if asked.kind != "number":
            assert asked.text in text


def test_the_file_to_start_from_with_every_line_uncommented_is_read_back(write, tmp_path):
    (tmp_path / "runs" / "other").mkdir(parents=True)
    (tmp_path / "readers.csv").touch()
    (tmp_path / "reader_study.csv").touch()
    answers = load_answers(write(every_answer()))
    assert answers.get("device.name") == "Stated: name."
    assert answers.get("reading.arrivals_per_hour") == 12.0
    assert answers.prevalences == {"Effusion": 0.05}
    assert answers.path("comparison.run") == tmp_path / "runs" / "other"
    lines = [line for line in answers_template().splitlines() if line.startswith("# ") and " = " in line]
    assert len(answers.values) == len(lines)


def test_a_file_with_answers_is_not_overwritten_unless_asked(write):
    path = write('[device]\nname = "A"\n')
    with pytest.raises(FileExistsError, match="may hold answers"):
        write_answers_template(path)
    assert load_answers(write_answers_template(path, overwrite=True)).values == {}


def test_a_mark_of_the_encoding_is_read_over_and_another_encoding_is_named(write):
    path = write("")
    path.write_bytes(b"\xef\xbb\xbf[device]\nname = 'A'\n")
    assert load_answers(path).get("device.name") == "A"
    path.write_bytes("[device]\nname = 'Gerät'\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"is not UTF-8 text \(byte \d+\); save it as UTF-8"):
        load_answers(path)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("[device\n", ValueError, "is no TOML file"),
        ('[devize]\nname = "A"\n', ValueError, r"unknown table \[devize\].*device"),
        ('[device]\nnane = "A"\n', ValueError, r"unknown key 'device\.nane'.*device\.name"),
        ("[device]\nname = 3\n", TypeError, r"device\.name is the number 3; text in quotes"),
        ("device = 3\n", TypeError, r"a table \[device\] was expected"),
        ("[prevalence]\nEffusion = 5\n", ValueError, r"prevalence\.Effusion=5"),
        ('[prevalence]\nEffusion = "5 %"\n', TypeError, "a number without quotes"),
        ("[goals]\nsensitivity_above = 1\n", ValueError, r"goals\.sensitivity_above"),
        ("[goals]\nfewest_positives = 0\n", ValueError, r"goals\.fewest_positives"),
        ("[decision]\nthresholds = [0.2, 0.1]\n", ValueError, "must ascend"),
        ("[decision]\nthresholds = 0.2\n", TypeError, r"a list such as"),
        ("[reading]\narrivals_per_hour = 5\n", ValueError, r"not reading\.reads_per_hour; waiting times need both"),
        ("[reading]\narrivals_per_hour = 5\nreads_per_hour = 5\n", ValueError, "queue would grow without end"),
        ("[reading]\narrivals_per_hour = -1\nreads_per_hour = 5\n", ValueError, "must be above 0"),
        ('[reading]\ndiscipline = "first"\n', ValueError, r"reading\.discipline"),
        ("[study]\nimages_per_patient = 0.5\n", ValueError, "must be at least 1"),
        ("[study]\ncorrelation = 2\n", ValueError, r"study\.correlation"),
        ('[readers]\nfile = "readers.csv"\n', ValueError, "go together"),
        ('[reader_study]\nfile = "study.csv"\nwith_device = "a"\n', ValueError, r"reader_study\.without_device"),
        ('[reader_study]\nfigure = "auroc"\n', ValueError, r"reader_study\.file"),
        (
            '[reader_study]\nfile = "study.csv"\nwith_device = "a"\nwithout_device = "b"\nfigure = "sensitivity"\n',
            ValueError,
            "from which rating on",
        ),
        (
            '[reader_study]\nfile = "gone.csv"\nwith_device = "a"\nwithout_device = "b"\n',
            FileNotFoundError,
            r"gone\.csv",
        ),
        ('[reader_study]\nfigure = "kappa"\n', ValueError, "auroc"),
        ('[readers]\nfile = "gone.csv"\nfinding = "Effusion"\n', FileNotFoundError, r"gone\.csv"),
        ('[comparison]\nrun = "gone"\n', FileNotFoundError, "gone"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_expected(text, error, message, write):
    with pytest.raises(error, match=message):
        load_answers(write(text))


def test_a_missing_file_says_how_to_get_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="chexkeras report-init"):
        load_answers(tmp_path / "submission.toml")


def test_two_readers_share_what_arrives(write):
    text = "[reading]\narrivals_per_hour = 9\nreads_per_hour = 5\nreaders = 2\n"
    assert load_answers(write(text)).get("reading.readers") == 2


def test_empty_answers_count_as_not_given_and_lines_are_joined(write):
    answers = load_answers(write('[device]\nname = "  "\nintended_user = """a\n  b"""\n'))
    assert answers.values == {"device.intended_user": "a b"}


def test_a_text_of_several_lines_keeps_them_without_the_indentation_of_the_file(write):
    answers = load_answers(write('[device]\nuse_conditions = """\n    One.\n\n    - a  \n      - b\n"""\n'))
    assert answers.values == {"device.use_conditions": "One.\n\n- a\n  - b"}


def test_stated_goals_fill_up_with_the_conventional_ones_and_are_marked_as_stated(write):
    goals = load_answers(write("[goals]\nsensitivity_above = 0.7\n")).goals()
    assert goals == PerformanceGoals(sensitivity_above=0.7, origin=STATED)
    assert Answers().goals() is None


def test_goals_given_twice_are_refused(finished_run, write):
    answers = load_answers(write("[goals]\nsensitivity_above = 0.7\n"))
    with pytest.raises(ValueError, match="given twice"):
        collect_facts(Run.load(finished_run), PerformanceGoals(), answers)


def test_a_prevalence_of_a_finding_that_was_not_evaluated_is_refused(finished_run, write):
    answers = load_answers(write("[prevalence]\nEfusion = 0.1\n"))
    with pytest.raises(ValueError, match="Effusion"):
        collect_facts(Run.load(finished_run), answers=answers)


def test_another_run_on_other_images_is_refused_by_name(finished_run, tmp_path, write, make_run):
    other = make_run(seed=5)
    answers = load_answers(write(f'[comparison]\nrun = "{other.folder}"\n'))
    with pytest.raises(ValueError, match=r"comparison\.run in submission\.toml cannot be compared"):
        collect_facts(Run.load(finished_run), answers=answers)


def test_every_question_has_a_table_and_none_is_asked_twice():
    assert len({asked.key for asked in QUESTIONS}) == len(QUESTIONS)
    assert {asked.section for asked in QUESTIONS} <= set(range(23))
    assert not [asked.key for asked in QUESTIONS if set("[]") & set(asked.text)]
    with pytest.raises(KeyError, match=r"device\.name"):
        question("device.nane")
