"""Made-up hospitals that phantoms may come from: how their images look, whom they see, and how they label.

A model that learnt at one of them meets at another what a model meets between real hospitals: other exposure, other
detectors, other markers, another share of sick patients, and labels that were made by other habits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from chexkeras.arguments import checked
from chexkeras.findings import NIH14
from chexkeras.phantoms.cohort import PhantomImage


@checked
@dataclass(frozen=True)
class Hospital:
    """A made-up hospital.

    Attributes:
        name: What `make_phantoms(site=...)` calls it.
        words: What is different there, for a reader.
        number: Keeps its patients apart from those of the same number elsewhere; 0 is where phantoms come from usually.
        exposure: Added to the density of every image; below 0 darker.
        contrast: Factor of the contrast.
        noise: Factor of the quantum noise.
        resolution: Share of the image's resolution that the detector has, in (0, 1].
        markers: "usual" puts a side marker into a corner, "plate" a bright bar at the lower edge as well, "none" leaves
            every marker out.
        prevalence: Factor of the odds of each finding.
        missed: Share of the findings drawn that the labels do not say.
        overcalled: Share of the images without a finding that are labelled with it all the same.
        original: Width and height in pixels and pixel spacing in mm of all its images; None takes NIH's.
    """

    name: str
    words: str
    number: int = 0
    exposure: float = 0.0
    contrast: float = 1.0
    noise: float = 1.0
    resolution: float = 1.0
    markers: Literal["usual", "plate", "none"] = "usual"
    prevalence: Mapping[str, float] = field(default_factory=dict)
    missed: float = 0.0
    overcalled: float = 0.0
    original: tuple[int, int, float] | None = None

    def seed_of(self, seed: int) -> int:
        """Returns the seed of its patients and images: patient 7 here is another person than patient 7 elsewhere.

        Args:
            seed: What the caller gave.
        """
        return seed + 1_000_003 * self.number

    def shares(self, asked: Mapping[str, float], usual: Mapping[str, float]) -> dict[str, float]:
        """Returns the share of images with each finding whose odds are others here.

        Args:
            asked: Shares that the caller asked for.
            usual: Shares of all findings.
        """
        shares = dict(asked)
        for finding, factor in self.prevalence.items():
            share = asked.get(finding, usual[finding])
            odds = factor * share / (1 - share)
            shares[finding] = odds / (1 + odds)
        return shares

    def labelled(self, cohort: Sequence[PhantomImage], seed: int) -> tuple[PhantomImage, ...]:
        """Returns images as this hospital records them: with its labels, and the size of its detector.

        Args:
            cohort: The images as they are drawn.
            seed: Of the labels.
        """
        drawn = np.random.default_rng([seed, self.number, 3]).random((len(cohort), len(NIH14)))
        made = []
        for image, row in zip(cohort, drawn, strict=True):
            entry = image if self.original is None else replace(image, original=self.original)
            if self.missed or self.overcalled:
                present = {finding for finding, _ in image.severity}
                said = tuple(
                    finding
                    for finding, number in zip(NIH14, row, strict=True)
                    if (number >= self.missed if finding in present else number < self.overcalled)
                )
                entry = replace(entry, recorded=said)
            made.append(entry)
        return tuple(made)


USUAL = "usual"
"""The hospital that phantoms come from unless another is named."""

HOSPITALS: dict[str, Hospital] = {
    entry.name: entry
    for entry in (
        Hospital(USUAL, "the hospital of all phantoms unless another is named"),
        Hospital(
            "portable",
            "bedside images: darker, low in contrast, noisy, from a coarser detector, with a bright bar at the lower "
            "edge; more effusions, and labels that miss a tenth of the findings",
            number=1,
            exposure=-0.12,
            contrast=0.5,
            noise=5.0,
            resolution=0.2,
            markers="plate",
            prevalence={"Effusion": 2.0, "Atelectasis": 1.5, "Edema": 2.0},
            missed=0.1,
            overcalled=0.02,
            original=(1760, 2140, 0.171),
        ),
        Hospital(
            "screening",
            "screening of the well: sharp and bright images without any marker, few findings, and labels of a reader "
            "who misses a quarter of them",
            number=2,
            exposure=0.05,
            contrast=1.2,
            noise=0.6,
            markers="none",
            prevalence=dict.fromkeys(NIH14, 0.4),
            missed=0.25,
            original=(2022, 2022, 0.175),
        ),
    )
}
"""Every made-up hospital by name: the one place where they are declared."""
