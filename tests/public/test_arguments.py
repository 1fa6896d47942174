"""Wrong arguments at public functions: what came, what was expected, and the parameter, in a sentence of our own."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike

import chexkeras as cx
from chexkeras.arguments import WrongArgument, checked

if TYPE_CHECKING:
    import xml.dom.minidom as minidom
    from decimal import Decimal

ROOT = Path(cx.__file__).parent


@checked
def sample(
    number: float,
    count: int = 1,
    *further: str,
    name: str | None = None,
    folder: str | Path = ".",
    values: ArrayLike = (),
    names: Sequence[str] = (),
    pairs: Mapping[str, float] | None = None,
    table: "pd.DataFrame | None" = None,
    later: "minidom.Document | None" = None,
    exact: "Decimal | None" = None,
    **others: int,
) -> str:
    """Takes something of every kind.

    Args:
        number: What is halved. It may be anything.
        count: How many.
        *further: More words.
        name: A name.
        folder: Where.
        values: Numbers.
        names: Several
            names.
        pairs: Numbers by name.
        table: A table.
        later: Of a module that may not have been imported.
        exact: Of one that is imported for type checkers.
        **others: Whole numbers.
    """
    return "done"


class TestKinds:
    @pytest.mark.parametrize(
        "given",
        [
            {"number": 1}, {"number": np.float32(1)}, {"number": np.array(0.5)}, {"count": np.int64(3)},
            {"folder": Path("x")}, {"folder": "x"}, {"values": [1, 2]}, {"values": np.ones(3)},
            {"values": pd.Series([1.0])}, {"values": 3}, {"names": ["a"]}, {"names": ("a",)},
            {"names": np.array(["a"])}, {"names": pd.Index(["a"])}, {"pairs": {"a": 1}}, {"pairs": None},
            {"table": pd.DataFrame()}, {"wider": 3},
        ],
        ids=str,
    )  # fmt: skip
    def test_what_fits_is_let_through(self, given):
        assert sample(**({"number": 0.5} | given)) == "done"

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"number": "1"}, "sample: number='1' must be a number, not text. number: What is halved."),
            ({"number": True}, "number=True must be a number, not a bool."),
            ({"number": None}, "number=None must be a number, not None."),
            ({"number": [1]}, "number must be a number, not a list."),
            ({"count": 1.5}, r"count=1.5 must be a whole number, not a float. count: How many."),
            ({"name": 3}, "name=3 must be text or None, not an int. name: A name."),
            ({"folder": 3}, "folder=3 must be a path, not an int. folder: Where."),
            ({"values": "1, 2"}, "values='1, 2' must be an array or a list of numbers, not text."),
            ({"values": {"a": 1}}, "values must be an array or a list of numbers, not a dict."),
            ({"names": "ab"}, "names='ab' must be a list, each text, not text. names: Several names."),
            ({"names": ["a", 3]}, "names must be a list, each text, but holds 3, an int."),
            (
                {"pairs": {"a": "x"}},
                "pairs must be a dict whose values are each a number or None, but holds 'x', text.",
            ),
            ({"pairs": [1]}, "pairs must be a dict whose values are each a number or None, not a list."),
            ({"table": "x.csv"}, r"table='x.csv' must be a table (pandas.DataFrame) or None, not text."),
            (
                {"names": pd.DataFrame({"a": [1]})},
                r"names must be a list, each text, not a table of 1 rows (DataFrame).",
            ),
            ({"later": 3}, "later=3 must be a Document or None, not an int."),
            ({"exact": 3}, "exact=3 must be a Decimal or None, not an int."),
            ({"wider": "x"}, "wider='x' must be a whole number, not text. others: Whole numbers."),
        ],
        ids=str,
    )
    def test_what_does_not_fit_is_told(self, given, message):
        with pytest.raises(WrongArgument) as raised:
            sample(**({"number": 0.5} | given))
        assert message in str(raised.value)

    def test_a_class_of_a_module_that_was_loaded_later_is_known(self):
        from decimal import Decimal
        from xml.dom import minidom

        assert sample(0.5, later=minidom.Document(), exact=Decimal(1)) == "done"

    def test_further_values_are_each_looked_at(self):
        assert sample(1, 2, "a", "b") == "done"
        with pytest.raises(WrongArgument, match=r"further=3 must be text, not an int\. further: More words"):
            sample(1, 2, "a", 3)

    def test_missing_unknown_and_doubled_arguments_are_told(self):
        @checked
        def two(first: int, *, second: int = 0) -> None:
            """Takes two.

            Args:
                first: The first one.
                second: The other.
            """

        with pytest.raises(WrongArgument, match=r"two: first is missing\. first: The first one\."):
            two()
        with pytest.raises(
            WrongArgument, match=r"two takes no argument 'secnd'; did you mean 'second'\? It takes: first"
        ):
            two(1, secnd=2)
        with pytest.raises(WrongArgument, match="first is given twice"):
            two(1, first=2)
        with pytest.raises(
            WrongArgument, match=r"1 argument\(s\) by their place \(first\), not 2; give by name: second"
        ):
            two(1, 2)

    def test_it_is_a_type_error_and_a_value_error(self):
        with pytest.raises(TypeError):
            sample("1")
        with pytest.raises(ValueError):
            sample("1")

    def test_methods_class_methods_and_constructors_are_checked_too(self):
        @checked
        class Box:
            """A box.

            Args:
                size: How large.
            """

            def __init__(self, size: int) -> None:
                self.size = size

            def grown(self, by: int) -> "Box":
                """Returns a larger one.

                Args:
                    by: How much.
                """
                return Box(self.size + by)

            @classmethod
            def of(cls, other: "Box") -> "Box":
                """Returns a copy.

                Args:
                    other: A box.
                """
                return cls(other.size)

        assert Box.of(Box(1).grown(2)).size == 3
        for call, message in (
            (lambda: Box("1"), "Box: size='1' must be a whole number, not text. size: How large."),
            (lambda: Box(1).grown(by="1"), "Box.grown: by='1' must be a whole number"),
            (lambda: Box.of(3), "Box.of: other=3 must be a Box, not an int. other: A box."),
        ):
            with pytest.raises(WrongArgument) as raised:
                call()
            assert message in str(raised.value)

    def test_a_check_imports_nothing(self):
        code = (
            "import sys, chexkeras as cx\n"
            "for wrong in (3, 'x'):\n"
            "    try: cx.evaluate(wrong)\n"
            "    except ValueError: pass\n"
            "    try: cx.report.open_fields(3)\n"
            "    except ValueError: pass\n"
            "print('keras' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT.parent)
        assert done.stdout.strip() == "False", done.stderr
