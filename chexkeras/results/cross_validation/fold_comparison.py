"""Two recipes on the same folds and seeds: the verdict, and what part of the difference could be luck of the seed."""

import math
from dataclasses import dataclass

from chexkeras import plain
from chexkeras.arguments import checked
from chexkeras.results.comparison import Comparison
from chexkeras.results.cross_validation.cross_validated import NINETEEN_OF_TWENTY, FoldSpread
from chexkeras.results.estimate import Estimate
from chexkeras.results.record import Record


@checked
@dataclass(frozen=True)
class FoldComparison(Record, nan=("p_resampled", "p_influence")):
    """Two recipes on the same folds and seeds, for one finding or for the mean of all.

    Attributes:
        comparison: What is reported: values, difference, p-value, verdict; its finding is empty for the mean of all.
        resampled: The difference with the interval of Nadeau and Bengio's corrected resampled t: how recipes differ,
            whatever images they are trained on.
        p_resampled: Its p-value.
        influence: The difference with the interval of the influence curve, paired by image and patient: how the very
            models of the folds differ.
        p_influence: Its p-value.
        spread: How far differences of folds, repeats and seeds lie apart.
    """

    comparison: Comparison
    resampled: Estimate
    p_resampled: float
    influence: Estimate
    p_influence: float
    spread: FoldSpread

    @property
    def verdict(self) -> str:
        """In words: which recipe is better, or that they were not shown to differ."""
        found, names = self.comparison, (self.comparison.first, self.comparison.second)
        if found.verdict in ("better", "worse"):
            better = names if found.verdict == "better" else names[::-1]
            text = f"{better[0]} is better than {better[1]}"
        else:
            text = "cannot be compared" if found.verdict == "not estimable" else "were not shown to differ"
            text = f"{names[0]} and {names[1]} {text}"
        if found.non_inferior is not None:
            shown = "shown" if found.non_inferior else "not shown"
            text += f"; that {names[0]} is at most {found.margin:g} worse is {shown}"
        return text

    @property
    def luck(self) -> str:
        """In words: what part of the difference could be luck of the seed."""
        seeds = self.spread.seeds
        if not seeds.estimable or not self.comparison.difference.estimable:
            return "with one seed nothing tells what part of the difference is luck of the seed"
        single = NINETEEN_OF_TWENTY * seeds.value
        count = round(self.spread.seeds.n)
        mean = single / math.sqrt(count)
        size = abs(self.comparison.difference.value)
        text = (
            f"luck of the seed moves the difference by up to {single:.3f} with one seed, {mean:.3f} with these {count}"
        )
        return text + (": all of it could be luck" if mean >= size else f", of {size:.3f}")

    def __str__(self) -> str:
        """Returns the verdict, the difference with its interval, and the luck of the seed."""
        about = self.comparison.finding or "mean of the findings"
        p_value = self.comparison.p_adjusted
        p_words = "" if math.isnan(p_value) else f", p {'< 0.001' if p_value < 0.001 else f'= {p_value:.3f}'}"
        return plain.wrapped(
            f"{about}, AUROC: {self.verdict}; difference {self.comparison.difference}{p_words}; {self.luck}", later="  "
        )
