"""What errors advise exists: public names, commands and their options, in the place where the reader can use them."""

import ast
import functools
import inspect
import re
from pathlib import Path

import pytest
import typer

import chexkeras as cx
from chexkeras import _lazy
from chexkeras.cli import app

ROOT = Path(cx.__file__).parent
# Functions that make the words of an error, or tell a person what to do.
TELLING = {"say", "fail", "refuse", "require_columns", "existing_file"}


def text_of(node):
    """Returns what is written in an expression, with "{}" for what is filled in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    return ""


@functools.cache
def messages():
    """Returns every text in a `raise` or a telling call of the package: (place, text)."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            name = getattr(getattr(node, "func", None), "id", getattr(getattr(node, "func", None), "attr", ""))
            if isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and name in TELLING):
                for inner in ast.walk(node):
                    text = text_of(inner)
                    if " " in text.strip():
                        found.append((f"{path.relative_to(ROOT)}:{inner.lineno}", text))
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                # Sentences that several errors end with.
                text = text_of(node.value)
                if re.fullmatch(r"_[A-Z_]*(FIX|HOW|DISCARD|ADVICE|CALLS)[A-Z_]*", node.targets[0].id):
                    found.append((f"{path.relative_to(ROOT)}:{node.lineno}", text))
    return found


@functools.cache
def public():
    """Returns every public name, and every public method or field of a public class, each by its last word."""
    names = {}
    for room in (cx, cx.presets, *(getattr(cx, room) for room in (*_lazy.ROOMS, "results"))):
        for name in room.__all__:
            names[name] = getattr(room, name)
    return names


def is_public(path):
    """Returns whether a dotted path leads from `cx` to something public."""
    place = cx
    for at, word in enumerate(path.split(".")):
        names = getattr(place, "__all__", None)
        if names is not None and word not in names and not (at == 0 and word in ("cx", "chexkeras")):
            return False
        if not (at == 0 and word in ("cx", "chexkeras")):
            if not hasattr(place, word):
                return False
            place = getattr(place, word)
    return True


def test_messages_are_found():
    assert len(messages()) > 1000
    assert is_public("cx.evaluation.roc_curve") and is_public("cx.Run.load")
    assert not is_public("cx.runs.writer") and not is_public("cx.predict_scores")


def test_every_name_that_is_advised_with_its_package_is_public():
    wrong = [
        f"{place}: {path}"
        for place, text in messages()
        for path in re.findall(r"\b((?:cx|chexkeras)\.[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)", text)
        if not is_public(path)
    ]
    assert not wrong, "\n".join(wrong)


def called(text):
    """Returns the names that a message writes as calls, or between backticks."""
    calls = re.findall(r"(?<![\w.'\"-])((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)\((?!s\))(?=[\w.'\"{)])", text)
    return [*calls, *re.findall(r"`((?:\w+\.)*\w+)`", text)]


def test_every_function_that_is_advised_is_public():
    methods = {
        f"{name}.{method}" for name, thing in public().items() if inspect.isclass(thing) for method in dir(thing)
    }
    last = {method.split(".")[1] for method in methods}
    wrong = []
    for place, text in messages():
        for path in called(text):
            first, *rest = path.split(".")
            known = (
                is_public(path) or path in methods or first in public()
                # A method of an object that the reader has: "table.rename(...)".
                or (rest and rest[-1] in last) or (rest and hasattr(__import__("pandas").DataFrame, rest[-1]))
                # What Keras has, and what a reader calls a model of their own.
                or first in ("keras", "model", "backbone", "Dense") or path in last or path.isdigit()
            )  # fmt: skip
            if not known and not hasattr(__import__("builtins"), first):
                wrong.append(f"{place}: {path} in {text[:100]!r}")
    assert not wrong, "\n".join(wrong)


@functools.cache
def commands():
    group = typer.main.get_command(app)
    return {name: {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)} | {"--help"}
            for name, command in group.commands.items()}  # fmt: skip


def test_every_command_that_is_advised_exists_with_its_options():
    wrong = []
    for place, text in messages():
        for name, rest in re.findall(r"chexkeras ([a-z][a-z-]+)((?: [A-Z]+| --[a-z-]+| \{\})*)", text):
            # "what chexkeras builds" is no command.
            if name not in commands() and name.endswith("s"):
                continue
            if name not in commands():
                wrong.append(f"{place}: chexkeras {name} in {text[:100]!r}")
            else:
                wrong += [
                    f"{place}: {name} {flag}" for flag in re.findall(r"--[a-z-]+", rest) if flag not in commands()[name]
                ]
    assert not wrong, "\n".join(wrong)


def test_every_option_that_is_advised_is_one_of_a_command():
    known = set().union(*commands().values())
    wrong = [
        f"{place}: {flag} in {text[:100]!r}"
        for place, text in messages()
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)
        if flag not in known
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["Effusio", "effusion ", "Pnuemonia"])
def test_a_misspelt_finding_is_told_the_nearest(name, toy_run):
    with pytest.raises(KeyError, match=r"did you mean 'Effusion'\?|nothing similar") as raised:
        toy_run.evaluation[name]
    assert "There are: Effusion." in str(raised.value)
