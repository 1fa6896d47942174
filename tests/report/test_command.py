"""``chexkeras report``, ``report-check`` and ``report-init``: what they write, and what they say of mistakes."""

import json

import pytest
from typer.testing import CliRunner

from chexkeras.cli import app
from chexkeras.report import submission

runner = CliRunner()


def run(*arguments, command="report"):
    return runner.invoke(app, [command, *(str(argument) for argument in arguments)])


def check(*arguments):
    return run(*arguments, command="report-check")


def init(*arguments):
    return run(*arguments, command="report-init")


@pytest.fixture
def quick(monkeypatch):
    """Without drawing figures, which other tests look at."""

    def draw(run, facts, folder, answers):
        for name in submission.NAMES:
            (folder / f"{name}.png").write_bytes(PNG)
        return {name: submission.Figure(name, name, "") for name in submission.NAMES}

    monkeypatch.setattr(submission, "draw_figures", draw)


PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 16


def test_a_run_gives_report_page_and_card(finished_run, tmp_path, quick):
    out = tmp_path / "new" / "FDA_Submission.md"
    result = run(finished_run, "--out", out)
    assert result.exit_code == 0, result.output
    made = {path.name for path in out.parent.iterdir()}
    assert made == {"FDA_Submission.md", "FDA_Submission.html", "model_card.md", "FDA_Submission_files"}
    assert result.output.count("written: ") == 3
    assert "test.Effusion.auroc" in json.loads((out.parent / "FDA_Submission_files" / "facts.json").read_text())


def test_page_and_card_can_be_left_out_and_figures_put_elsewhere(finished_run, tmp_path, quick):
    out = tmp_path / "a" / "report.md"
    result = run(finished_run, "--out", out, "--no-html", "--no-model-card", "--assets", tmp_path / "b")
    assert result.exit_code == 0, result.output
    assert [path.name for path in out.parent.iterdir()] == ["report.md"]
    assert (tmp_path / "b" / "facts.json").exists()


def test_without_the_model_a_report_is_written_where_that_is_said(run_folder, tmp_path, quick):
    (run_folder / "model.keras").unlink()
    out = tmp_path / "FDA_Submission.md"
    result = run(run_folder, "--out", out)
    assert result.exit_code == 2
    assert "--without-model" in result.output and not out.exists()
    result = run(run_folder, "--out", out, "--without-model")
    assert result.exit_code == 0, result.output
    text = out.read_text()
    stated = json.loads((run_folder / "provenance.json").read_text())["model"]["sha256"]
    assert f"`{stated[:16]}` (SHA-256, first 16 digits)" in text
    assert "the model file itself was not at hand when this text was made" in text
    assert "not checked: the model file itself was not at hand" in text
    assert stated[:16] in (tmp_path / "model_card.md").read_text()
    assert check(out, "--run", run_folder, "--without-model").exit_code == 4
    assert check(out, "--without-model").exit_code == 2


def test_strict_lists_the_open_fields_and_writes_nothing(finished_run, tmp_path):
    result = run(finished_run, "--out", tmp_path / "report.md", "--strict")
    assert result.exit_code == 2
    assert "device.name: name of the device" in result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_answers_beside_the_report_or_in_the_working_folder_are_used_and_named(
    finished_run, tmp_path, quick, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / "report.md"
    for place in (tmp_path / "out", tmp_path / "here"):
        (place / "submission.toml").write_text('[device]\nname = "From the folder"\n')
        result = run(finished_run, "--out", out, "--no-html")
        assert result.exit_code == 0, result.output
        assert "submission.toml" in result.output
        assert "From the folder" in out.read_text() and "From the folder" in (out.parent / "model_card.md").read_text()
        open_here = run(finished_run, "--out", out, "--strict")
        assert open_here.exit_code == 2 and "device.name: name of the device" not in open_here.output
        assert "answers" in check(out, "--run", finished_run).output
        (place / "submission.toml").unlink()
    for place in ("out", "here"):
        (tmp_path / place / "submission.toml").write_text('[device]\nname = "Two"\n')
    assert run(finished_run, "--out", out).exit_code == 2
    assert "--answers" in run(finished_run, "--out", out).output
    named = run(finished_run, "--out", out, "--answers", "submission.toml", "--no-html")
    assert named.exit_code == 0 and "Two" in out.read_text()


def test_a_strict_report_that_the_check_condemns_is_not_written(finished_run, answered, tmp_path, quick):
    out = tmp_path / "report.md"
    good = run(finished_run, "--out", out, "--answers", answered, "--strict")
    assert good.exit_code == 0, good.output
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    lines = answered.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("reason = ") or line.startswith("design_reason"))
    lines[at] = lines[at].split(" = ")[0] + ' = "The device is radiologist-level and FDA approved."'
    bad = answered.with_name("boast.toml")
    bad.write_text("\n".join(lines))
    result = run(finished_run, "--out", out, "--answers", bad, "--strict")
    assert result.exit_code == 2
    assert "the check condemns the report, so nothing was written" in result.output
    assert "claim-beyond-evidence" in result.output
    assert before == {path: path.read_bytes() for path in before}
    loose = run(finished_run, "--out", tmp_path / "loose.md", "--answers", bad, "--no-html")
    assert loose.exit_code == 0
    assert check(tmp_path / "loose.md", "--run", finished_run, "--answers", bad).exit_code == 4


def test_init_for_a_run_asks_about_its_findings_alone(make_run, tmp_path):
    made = make_run(targets=("Mass", "Nodule"))
    assert init(made.folder, "--out", tmp_path / "questions.toml").exit_code == 0
    text = (tmp_path / "questions.toml").read_text()
    assert "Effusion" not in text
    assert '# finding = "Mass"' in text and "# Nodule = 0.05" in text


def test_init_writes_the_questions_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert init().exit_code == 0
    text = (tmp_path / "submission.toml").read_text()
    assert "# intended_use" in text
    again = init()
    assert again.exit_code == 2
    assert "may hold answers" in again.output
    assert init("--out", "other.toml").exit_code == 0
    assert (tmp_path / "other.toml").read_text() == text


def test_answers_reach_the_report_and_the_card(finished_run, tmp_path, quick):
    answers = tmp_path / "submission.toml"
    answers.write_text('[device]\nname = "Night watch"\n\n[goals]\nsensitivity_above = 0.5\nspecificity_above = 0.5\n')
    result = run(finished_run, "--out", tmp_path / "report.md", "--answers", answers)
    assert result.exit_code == 0, result.output
    assert "**Name of your Device:** Night watch" in (tmp_path / "report.md").read_text()
    assert "# Model Card: Night watch" in (tmp_path / "model_card.md").read_text()
    for name in ("report.md", "model_card.md"):
        assert "performance goals: MET**" in (tmp_path / name).read_text()


@pytest.mark.parametrize(("text", "message"), [
    ("[device]\nname = 3\n", "device.name is the number 3; text in quotes was expected"),
    ("[device]\nnmae = 'x'\n", "did you mean 'device.name'"),
    ("device", "is no TOML file"),
])  # fmt: skip
def test_a_mistake_in_the_answers_is_one_message(finished_run, tmp_path, text, message):
    answers = tmp_path / "submission.toml"
    answers.write_text(text)
    result = run(finished_run, "--out", tmp_path / "report.md", "--answers", answers)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "report.md").exists()


def test_check_says_by_its_status_that_something_was_found(tmp_path):
    good, bad = tmp_path / "good.md", tmp_path / "bad.md"
    good.write_text("# Report\n\nThe sensitivity is 0.85 (95 % CI 0.80-0.89; n = 222).\n")
    bad.write_text("# Report\n\nThe model is radiologist-level: AUC 0.83.\n")
    passed = check(good)
    assert passed.exit_code == 0
    assert "found nothing; that does not show that it is right" in passed.output
    failed = check(bad)
    assert failed.exit_code == 4
    assert "claim-beyond-evidence: a claim of equivalence" in failed.output
    assert 'line 3: "The model is radiologist-level: AUC 0.83."' in failed.output
    assert "to do: " in failed.output
    assert "2 of 14 rules found something to look at" in failed.output


def test_check_takes_the_run_that_the_document_describes(finished_run, tmp_path):
    document = tmp_path / "report.md"
    document.write_text("Synthetic images, no evidence. The network has 9,000,000 parameters.\n")
    assert check(document).exit_code == 0
    held_against = check(document, "--run", finished_run)
    assert held_against.exit_code == 4
    assert "8,612,417" in held_against.output


def test_init_asks_for_the_prevalence_of_the_runs_findings(make_run, tmp_path):
    made = make_run(targets=("Mass", "Nodule"))
    out = tmp_path / "submission.toml"
    result = init(made.folder, "--out", out)
    assert result.exit_code == 0, result.output
    assert "[prevalence]" in out.read_text()
    assert "# Mass = 0.05\n# Nodule = 0.05\n" in out.read_text()


@pytest.mark.parametrize(("call", "arguments", "message"), [
    (run, (), "Missing argument 'RUN'"),
    (run, ("nowhere",), "no folder at 'nowhere'"),
    (run, ("RUN", "--answers", "none.toml"), "write one to start from with: chexkeras report-init"),
    (run, ("RUN", "--init"), "No such option: --init"),
    (check, (), "Missing argument 'FILE'"),
    (check, ("none.md",), "no file at 'none.md'"),
    (check, ("none.md", "--strict"), "No such option: --strict"),
    (check, ("none.md", "--without-model"), "--without-model is used only with --run"),
    (init, ("nowhere",), "no folder at 'nowhere'"),
])  # fmt: skip
def test_a_mistake_in_the_call_gives_one_message(call, arguments, message, finished_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(*(finished_run if argument == "RUN" else argument for argument in arguments))
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("call", "own", "others"), [
    (run, ("--out", "--strict", "--answers", "--no-html", "--no-model-card", "--assets"), ("--run", "--check")),
    (check, ("--run", "--answers", "--without-model"), ("--out", "--strict", "--assets")),
    (init, ("--out",), ("--run", "--strict", "--assets")),
])  # fmt: skip
def test_each_command_explains_its_own_options_only(call, own, others):
    text = call("--help").output
    assert all(f"{option} " in text for option in own)
    assert not any(f"{option} " in text for option in others)
