"""Lists the places in the package where one small mistake can be planted, and chooses some of them.

A site is described by its function, its statement and what is replaced by what, so that it can be found in another
version of the package, where line numbers and files are others.
"""

from __future__ import annotations

import ast
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

OPERATORS = (
    "comparison",
    "arithmetic",
    "constant",
    "negation",
    "and_or",
    "return_value",
    "max_min",
    "condition_dropped",
    "raise_removed",
    "arguments_swapped",
    "slice_bound",
)
_COMPARE = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}
_ARITHMETIC = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*")}
_MAX_MIN = {
    "max": "min",
    "min": "max",
    "maximum": "minimum",
    "minimum": "maximum",
    "argmax": "argmin",
    "argmin": "argmax",
}
# How a figure looks is no behaviour that a test should hold still.
_LOOKS = set(
    [
        "alpha",
        "aspect",
        "bottom",
        "bbox_to_anchor",
        "capsize",
        "color",
        "dpi",
        "edgecolor",
        "elinewidth",
        "figsize",
        "fontsize",
        "fontweight",
        "height_ratios",
        "hspace",
        "labelpad",
        "left",
        "linestyle",
        "linewidth",
        "linewidths",
        "loc",
        "lw",
        "marker",
        "markersize",
        "ms",
        "ncol",
        "ncols",
        "pad",
        "right",
        "rotation",
        "s",
        "size",
        "top",
        "width_ratios",
        "wspace",
        "xytext",
        "zorder",
        "help",
    ]
)
_NO_SWAP = {"isinstance", "issubclass", "getattr", "hasattr", "setattr", "print", "zip", "warn", "max", "min", "set"}
# Words of the package that were renamed: both spellings describe one site.
_RENAMED = [
    (re.compile(p), r) for p, r in (("radiograph|film", "image"), ("Radiograph|Film", "Image"), ("FILM", "IMAGE"))
]


@dataclass(frozen=True)
class Site:
    """One place and the mistake planted there.

    Attributes:
        file: path of the file inside the tree, with forward slashes.
        function: qualified name of the function or class around it, `""` on module level.
        operator: kind of mistake, one of `OPERATORS`.
        statement: the statement around it in normal form; of a compound statement its head only.
        line: source text of its first line.
        old: source text that is replaced.
        new: source text put in its place.
        nth: which one it is among the sites of this function that read the same, from 0.
        start: offset of the first replaced byte.
        end: offset behind the last replaced byte.
        lineno: number of its first line, from 1.
    """

    file: str
    function: str
    operator: str
    statement: str
    line: str
    old: str
    new: str
    nth: int = 0
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)
    lineno: int = field(default=0, compare=False)

    @property
    def room(self) -> str:
        """Folder of the package, or `base` for the modules at its top."""
        parts = self.file.split("/")
        return parts[1] if len(parts) > 2 else "base"

    def plant(self, source: bytes) -> bytes:
        """Returns the source of the file with the mistake in it.

        Args:
            source: the file as it is.
        """
        return source[: self.start] + self.new.encode() + source[self.end :]

    def to_json(self) -> dict:
        """Returns the site as plain values, its room among them."""
        return {"room": self.room, **asdict(self)}


class _Finder(ast.NodeVisitor):
    """Walks one file and gathers its sites."""

    def __init__(self, file: str, source: bytes) -> None:
        self.file, self.source, self.sites = file, source, []
        self.starts, self.scope, self.statement = [0], [], ""
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.lines = source.decode().splitlines()

    def span(self, node: ast.AST) -> tuple[int, int]:
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.source[start:end].decode()

    def add(self, operator: str, start: int, end: int, new: str) -> None:
        lineno = self.source.count(b"\n", 0, start) + 1
        old = self.source[start:end].decode()
        function = ".".join(self.scope)
        line = self.lines[lineno - 1].strip()
        self.sites.append(
            Site(self.file, function, operator, self.statement, line, old, new, start=start, end=end, lineno=lineno)
        )

    def replace(self, operator: str, node: ast.AST, new: str) -> None:
        self.add(operator, *self.span(node), new)

    def between(self, operator: str, left: ast.AST, right: ast.AST, new: str) -> None:
        """Replaces the operator that stands between two operands; brackets and line breaks around it stay."""
        start, end = self.span(left)[1], self.span(right)[0]
        gap = self.source[start:end].decode()
        found = re.search(r"not\s+in\b|is\s+not\b|\b(?:in|is|and|or)\b|[<>=!]=|[-+*/<>]", gap)
        if found and "#" not in gap:
            self.add(operator, start + found.start(), start + found.end(), new)

    # ---- statements
    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt):
            self.statement = _head(node)
        super().visit(node)

    def body(self, statements: Iterable[ast.stmt]) -> None:
        for statement in statements:
            self.visit(statement)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.scope.append(node.name)
        for default in [*node.args.defaults, *(d for d in node.args.kw_defaults if d)]:
            self.visit(default)
        self.body(node.body)
        self.scope.pop()

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.scope.append(node.name)
        self.body(node.body)
        self.scope.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) in {"TYPE_CHECKING", "__name__ == '__main__'"}:
            return
        self.condition(node.test)
        self.generic_visit(node)

    visit_IfExp = visit_If

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self.body(node.body)

    def condition(self, test: ast.expr) -> None:
        text = self.text(test)
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self.replace("negation", test, self.text(test.operand))
        else:
            self.replace("negation", test, f"not ({text})")
        self.replace("condition_dropped", test, "False")
        self.replace("condition_dropped", test, "True")

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.replace("condition_dropped", test, "True")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.replace("raise_removed", node, "pass")  # what the message says is left alone

    def visit_Return(self, node: ast.Return) -> None:
        value = node.value
        if value is None or (isinstance(value, ast.Constant) and not isinstance(value.value, bool | int | float)):
            return
        if isinstance(value, ast.Compare | ast.BoolOp) or (
            isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not)
        ):
            self.replace("return_value", value, f"not ({self.text(value)})")
        elif isinstance(value, ast.BinOp) and not _stringy(value):
            self.replace("return_value", value, f"-({self.text(value)})")
        elif isinstance(value, ast.Tuple | ast.List | ast.Dict) and getattr(
            value, "elts", getattr(value, "keys", None)
        ):
            self.replace("return_value", value, {ast.Tuple: "()", ast.List: "[]", ast.Dict: "{}"}[type(value)])
        elif not isinstance(value, ast.JoinedStr | ast.Constant):
            self.replace("return_value", value, "None")
        self.visit(value)

    def skip(self, node: ast.AST) -> None: ...

    visit_Assert = visit_Import = visit_ImportFrom = visit_JoinedStr = skip

    # ---- expressions
    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            self.between("comparison", left, right, _COMPARE[type(operator)])
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if type(node.op) in _ARITHMETIC and not _stringy(node):
            self.between("arithmetic", node.left, node.right, _ARITHMETIC[type(node.op)][1])
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if type(node.op) in _ARITHMETIC and not _stringy(node.value):
            self.between("arithmetic", node.target, node.value, _ARITHMETIC[type(node.op)][1])
        self.visit(node.value)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        # One changed word among three or more would change what binds first: only pairs.
        if len(node.values) == 2:
            self.between("and_or", *node.values, "or" if isinstance(node.op, ast.And) else "and")
        for value in node.values:
            self.replace("condition_dropped", value, "True" if isinstance(node.op, ast.And) else "False")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self.replace("negation", node, f"({self.text(node.operand)})")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.replace("constant", node, str(not node.value))
        elif isinstance(node.value, int):
            self.replace("constant", node, str(node.value + 1))
        elif isinstance(node.value, float):
            self.replace("constant", node, repr(node.value * 1.5 if node.value else 0.5))

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name in {
            "warn",
            "echo",
            "secho",
            "Option",
            "Argument",
            "ArgumentParser",
            "add_argument",
            "TypeVar",
            "compile",
        }:
            return
        if name in _MAX_MIN:
            end = self.span(node.func)[1]
            self.add("max_min", end - len(name), end, _MAX_MIN[name])
        values = node.args
        if len(values) >= 2 and name not in _NO_SWAP and not any(isinstance(v, ast.Starred) for v in values[:2]):
            first, second = self.text(values[0]), self.text(values[1])
            if first != second and not any(_stringy(v) for v in values[:2]):
                gap = self.source[self.span(values[0])[1] : self.span(values[1])[0]].decode()
                start, end = self.span(values[0])[0], self.span(values[1])[1]
                self.add("arguments_swapped", start, end, f"{second}{gap}{first}")
        self.visit(node.func)
        for value in values:
            self.visit(value)
        for keyword in node.keywords:
            if keyword.arg not in _LOOKS:
                self.visit(keyword.value)

    def visit_Slice(self, node: ast.Slice) -> None:
        for bound in (node.lower, node.upper):
            if bound is not None:
                self.replace("slice_bound", bound, f"{self.text(bound)} + 1")
                if not isinstance(bound, ast.Constant | ast.UnaryOp):
                    self.visit(bound)


def _stringy(node: ast.AST) -> bool:
    """Whether text or a list takes part, of which a difference or a quotient would only be a crash."""
    kinds = (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp, ast.Dict)
    if isinstance(node, ast.BinOp):
        return _stringy(node.left) or _stringy(node.right)
    return isinstance(node, kinds) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))


def _head(node: ast.stmt) -> str:
    """The statement in normal form, without the body that hangs under it."""
    if isinstance(node, ast.If | ast.While):
        return f"{type(node).__name__.lower()} {ast.unparse(node.test)}"
    if isinstance(node, ast.For):
        return f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}"
    if isinstance(node, ast.With):
        return "with " + ", ".join(ast.unparse(item) for item in node.items)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return f"{type(node).__name__} {node.name}"
    if isinstance(node, ast.Try):
        return "try"
    if isinstance(node, ast.Raise):
        return (
            f"raise {ast.unparse(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)}"
            if node.exc
            else "raise"
        )
    return ast.unparse(node)


def sites_of(tree: Path) -> list[Site]:
    """Lists every site of the package, in the order of files and lines.

    Args:
        tree: root of a checkout; its `chexkeras` folder is read.
    """
    found: list[Site] = []
    for path in sorted((tree / "chexkeras").rglob("*.py")):
        source = path.read_bytes()
        finder = _Finder(path.relative_to(tree).as_posix(), source)
        finder.visit(ast.parse(source))
        found += finder.sites
    counts: Counter = Counter()
    numbered = []
    for site in sorted(found, key=lambda s: (s.file, s.start, s.end, s.operator, s.new)):
        key = (site.file, *described(site))
        numbered.append(Site(**{**asdict(site), "nth": counts[key]}))
        counts[key] += 1
    return numbered


def choose(tree: Path, count: int, seed: int) -> list[Site]:
    """Chooses mistakes at random, over the rooms in proportion to their lines and over the operators evenly.

    Args:
        tree: root of a checkout.
        count: how many, about; every room has two at least.
        seed: seed of the choice; the same tree and seed give the same mistakes.
    """
    lines: Counter = Counter()
    for path in (tree / "chexkeras").rglob("*.py"):
        parts = path.relative_to(tree).parts
        lines[parts[1] if len(parts) > 2 else "base"] += path.read_bytes().count(b"\n")
    by_room = defaultdict(list)
    for site in sites_of(tree):
        if site.function:
            by_room[site.room].append(site)
    used: Counter = Counter()
    chosen = []
    for room in sorted(by_room):
        draw = random.Random(f"{seed} {room}")
        pool, files = by_room[room], Counter()
        functions: set = set()
        for _ in range(max(2, round(count * lines[room] / lines.total()))):
            left = [s for s in pool if (s.file, s.function) not in functions]
            # The operator and the file used least so far, chance among equals.
            operators = sorted(sorted({s.operator for s in left}), key=lambda o: (used[o], draw.random()))
            left = [s for s in left if s.operator == operators[0]]
            fewest = min(files[s.file] for s in left)
            site = draw.choice([s for s in left if files[s.file] == fewest])
            chosen.append(site)
            used[site.operator] += 1
            files[site.file] += 1
            functions.add((site.file, site.function))
    return chosen


def same_words(text: str) -> str:
    """Returns a text in the words that both trees share.

    Args:
        text: a name or a piece of source.
    """
    for pattern, word in _RENAMED:
        text = pattern.sub(word, text)
    return re.sub(r"\s+", " ", text)


def described(site: Site) -> tuple[str, ...]:
    """Returns function, operator, statement, old and new text of a site, in the words that both trees share.

    Args:
        site: the site.
    """
    return tuple(map(same_words, (site.function, site.operator, site.statement, site.old, site.new)))
