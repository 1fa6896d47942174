"""Checks of what a document says about its data: views, ages, the split, and what kind of sample it is."""

import re
from collections.abc import Iterator

from chexkeras.report.lint.document import CELL, Document, Passage
from chexkeras.report.lint.issue import Found, Place, RunFacts, places, rule
from chexkeras.report.lint.language import DEPENDENT, any_of, denied, measures, stated_values, statements

_LATERAL = any_of(
    r"\b(?:AP|PA|frontal)\s*(?:/|,|and|or|&|\+)\s*lateral\b",
    r"\b(?:lateral|oblique|decubitus|lordotic)\s*(?:chest\s*)?(?:views?|films?|images?|projections?|positions?)\b",
    r"\b(?:lateral|oblique|decubitus|lordotic)\s*(?:chest\s*)?(?:radiographs?|x-?rays?)\b",
    r"\b(?:views?|projections?|positions?)\b[^.;|]{0,30}\blateral\b",
)
_REFUSED = any_of(
    r"\b(?:reject\w*|refus\w*|exclud\w*|outside|unsupported|only|other than|except|can be|unknown|left out|omit\w*)\b"
)
_FRONTAL = any_of(
    r"\bfrontal(?:[- ](?:view|only|chest|films?|images?|radiographs?|x-?rays?))",
    r"\bonly (?:PA|AP|frontal)\b",
    r"\b(?:NIH )?chest[- ]?x-?ray-?(?:14|8)\b",
)
"""Words that say that the data are frontal; NIH ChestX-ray14 holds frontal images only (Wang et al., CVPR 2017)."""

_LATERAL_COUNTED = any_of(r"\blateral\b[^.;|]{0,20}\d")
_LATERAL_ROW = any_of(r"\Alateral.{0,12}\Z")
_OTHER_DATA = any_of(r"\b(?:CheXpert|MIMIC|PadChest|VinDr)\b")
_CLAIM_SECTION = any_of(r"indication|intended|general information|label|population|purpose")
_SINGLE_VIEW = re.compile(r"\b(PA|AP)\b")
_VIEW_WORDS = any_of(r"\b(?:views?|images?|radiographs?|projections?|x-?rays?)\b")

_AGES = any_of(
    r"(?<![\d.])(\d{1,3})\s*(?:-|–|to|and)\s*(\d{1,3})(?![\d.%])(?=\s*(?:years?|yrs?|y/?o)\b)",
    r"\b(?:aged?|ages|years)\b[^\d.;|]{0,25}?(?<![\d.])(\d{1,3})\s*(?:-|–|to|and)\s*(\d{1,3})(?!\d|\.\d|\s*%)",
)
_DATA_WORDS = any_of(
    r"\b(?:data|data ?sets?|databases?|trained|training|validation|test|images|(?<!body )parts?|measured|median|mean)\b"
)
_CLAIM_WORDS = any_of(r"\b(?:indicated|intended|adults)\b")
_AGE_ROW = any_of(r"\b(?:ages?|patients?|population|input|indications?)\b")
_NO_LIMIT_YEARS = 110
"""An upper age this high is no claim about old patients: it keeps out typing errors."""

_SPLIT = any_of(r"\b(?:split|disjoint)\b")
_LEAK_NAMED = any_of(
    r"\bleak\w*\b",
    r"\bshared? patients\b",
    r"\bpatients? .{0,40}\balso (?:have|appear|occur|in)\b",
)
_BY_PATIENT = any_of(
    r"\b(?:by|per|of|over|same|each|disjoint|no)\b[^.;]{0,25}\bpatients?\b",
    r"\bpatient[- ](?:wise|level|disjoint)",
)
_IMAGES = r"(?:images?|films?|file ?names?|files?|radiographs?|rows?)"
_SPLIT_BY_IMAGE = any_of(
    rf"\b(?:split\w*|divid\w+|partition\w*|bucket\w*|assign\w*)\b[^.;]{{0,60}}"
    rf"\b(?:by|per|at the level of|hash of|on)\s+(?:the |its |their )?{_IMAGES}\b",
    r"\bimage[- ](?:wise|level)\b[^.;]{0,20}\bsplit",
    r"\btrain_test_split\b",
    rf"\brandom(?:ly)?\b[^.;]{{0,30}}\bsplit\w*\b[^.;]{{0,20}}\b{_IMAGES}\b",
    rf"\b{_IMAGES}\b[^.;]{{0,30}}\b(?:split|divided|partitioned)\b[^.;]{{0,30}}\bat random\b",
    rf"\b{_IMAGES}\b[^.;]{{0,30}}\brandomly\b[^.;]{{0,15}}\b(?:split|divided|partitioned)\b",
)
_SHARED = any_of(
    r"\b(?:(?:up|over)-?\s?sampl|duplicat|repeat|copi)\w*\b[^.;]{0,60}"
    r"\bbefore\b[^.;]{0,40}\b(?:split|divid|partition)\w*",
    r"\btest (?:set|images|films|radiographs|data|part|rows)\b[^.;]{0,40}"
    r"\b(?:used|seen|included|contained|present)\s+(?:in|for|during)\s+(?:the )?training\b",
    r"\b(?:evaluated|tested|measured|reported|scored)\b[^.;]{0,20}"
    r"\bon (?:the )?training (?:set|data|images|films|radiographs|part)\b",
    r"\btraining (?:images|films|radiographs|data|set|rows)\b[^.;]{0,40}"
    r"\b(?:in|part of|among|shared with)\b[^.;]{0,10}\btest\b",
)
_CHOICE = (
    r"\b(?:chos(?:e|en)|select\w*|pick\w*|tun(?:ed|ing)|optimi[sz](?:e|ed|ing)|recommend\w*|early stopping|"
    r"checkpoint\w*)\b"
)
_CHOSEN = any_of(rf"{_CHOICE}[^.;]{{0,80}}\bvalidation\b", rf"\bvalidation\b[^.;]{{0,80}}{_CHOICE}")
_VALIDATION = any_of(r"\bval(?:idation)?\b")
_TEST = any_of(r"\btest\b")
_TRAIN = any_of(r"\btrain(?:ing|ed)?\b")
_ADMITTED = any_of(r"\b(?:optimis(?:m|tic)\w*|flatter\w*|biased|over-?estimat\w*)\b")

_NOT_REAL = r"(?:synthetic|phantoms?|simulated|artificial)"
_SYNTHETIC = any_of(
    rf"\b{_NOT_REAL}[- ](?:chest )?(?:films?|images?|radiographs?|data|patients|x-?rays?|run)\b",
    rf"\b(?:films?|images?|radiographs?|data)\b[^.;]{{0,40}}\b(?:are|is|were) (?:all )?{_NOT_REAL}\b",
    r"\bon (?:the )?phantoms\b",
)
_NOT_REAL_WORDS = any_of(rf"\b{_NOT_REAL}\b")
_CAUTIONED = any_of(r"\b(?:not|no|nothing|never|only that)\b")
_ARTIFICIAL_SHARE = any_of(
    r"\bcase[- –]control\b",
    r"\b(?:balanced|enriched) (?:sample|set|test|study|cohort|data ?set|evaluation)\b",
    r"\bequal numbers\b",
    r"\b50\s*%\s*(?:prevalence|positives?)",
    r"\b(?:50\s*%?\s*[-/:–]\s*50|20\s*%?\s*[-/:–]\s*80)\b\s*%?[^.;]{0,60}\b(?:positives?|negatives?|cases)\b",
    r"\b(?P<half>\d{2,6})\b[^.;\d]{3,60}\b(?:and|plus|/)\s+(?P=half)\b[^.;]{0,40}"
    r"\b(?:without|normal|negative|healthy|controls?)",
)
_SHARE_MATTERS = any_of(
    r"\b(?:prevalence|share of positives)\b[^.]{0,80}"
    r"\b(?:only|depend\w*|carry over|compar\w+|differ\w*|transfer\w*)\b",
    r"\b(?:depend\w*|hold\w*)\b[^.]{0,60}\bprevalence\b",
)


def _frontal(document: Document, known: RunFacts | None) -> frozenset[str] | None:
    """Returns the views of the data as far as they are known; None where the document does not tell."""
    if known is not None and known.views:
        return known.views
    counted = [
        passage
        for passage in document.words
        if _LATERAL_COUNTED.search(passage.text)
        or (passage.kind == CELL and _LATERAL_ROW.search(passage.label) and any(map(str.isdigit, passage.text)))
    ]
    if counted or _OTHER_DATA.search(document.text):
        return None
    return frozenset({"PA", "AP"}) if any(True for _ in statements(document, _FRONTAL)) else None


@rule("view-outside-data")
def view_outside_data(document: Document, known: RunFacts | None) -> Iterator[Found]:
    """No view is claimed that the data do not hold."""
    views = _frontal(document, known)
    if views is None:
        return
    wrong: list[Passage] = []
    for passage in document.words:
        text = " ".join(passage.row) if passage.row else passage.text
        match = _LATERAL.search(passage.text)
        lateral = match and not any("LATERAL" in view.upper() or view.upper() in ("LL", "RL") for view in views)
        if match and lateral and not _REFUSED.search(text) and not denied(passage.text, match.start(), match.end()):
            wrong.append(passage)
            continue
        claims = any(_CLAIM_SECTION.search(heading) for heading in passage.section)
        if claims and passage.kind != CELL and _VIEW_WORDS.search(passage.text) and not _REFUSED.search(text):
            named = [m for m in _SINGLE_VIEW.finditer(passage.text) if not denied(passage.text, m.start(), m.end())]
            if any(m[1] not in views for m in named):
                wrong.append(passage)
    if wrong:
        yield (
            f"the data hold {' and '.join(sorted(views, reverse=True))} views only, but others are claimed",
            places(wrong),
            "claim the views of the data only, and say that others are refused.",
        )


def _age_ranges(text: str) -> list[tuple[int, int]]:
    found = []
    for match in _AGES.finditer(text):
        low, high = (int(match[i] or match[j]) for i, j in ((1, 3), (2, 4)))
        if low < high <= 150:
            found.append((low, high))
    return found


@rule("age-outside-data")
def age_outside_data(document: Document, known: RunFacts | None) -> Iterator[Found]:
    """No age is claimed that the data do not hold."""
    claimed: list[tuple[Passage, int, int]] = []
    data: list[tuple[int, int]] = []
    for passage in document.words:
        if passage.kind == CELL and not _AGE_ROW.search(f"{passage.label} {passage.column}"):
            continue
        text = f"{passage.label}: {passage.text}" if passage.kind == CELL else passage.text
        claims = _CLAIM_WORDS.search(text) or any(_CLAIM_SECTION.search(heading) for heading in passage.section)
        of_data = _DATA_WORDS.search(" ".join((text, *passage.section[-1:])))
        for low, high in _age_ranges(text):
            if of_data:
                data.append((low, high))
            if claims and (known is not None or not of_data):
                claimed.append((passage, low, high))
    if known is not None and known.ages is not None:
        youngest, oldest = known.ages
    elif data:
        youngest, oldest = min(low for low, _ in data), max(high for _, high in data)
    else:
        return
    wrong = [entry for entry in claimed if entry[1] < youngest or oldest < entry[2] < _NO_LIMIT_YEARS]
    if wrong:
        stated = ", ".join(dict.fromkeys(f"{low} to {high}" for _, low, high in wrong))
        yield (
            f"the patients of the data are {youngest:g} to {oldest:g} years old, but {stated} years are claimed",
            places(passage for passage, _, _ in wrong),
            "claim the ages of the data only.",
        )


@rule("leaky-split-not-named")
def leaky_split_not_named(document: Document, known: RunFacts | None) -> Iterator[Found]:
    """A split that lets patients be in two parts is called leaky, and so are weights that have seen the images."""
    if statements(document, _LEAK_NAMED):
        return
    if known is not None:
        if known.leaky:
            where = [passage for passage, _ in statements(document, _SPLIT)]
            yield (
                "patients have images in more than one part, and the document does not say so",
                places(where) or (Place(1, "the whole document"),),
                "say LEAKY before the first number, or split by patient and measure again.",
            )
        elif known.leaky_weights:
            yield (
                "the weights that training started from have seen images of the run, and the document does not say so",
                (Place(1, "the whole document"),),
                "say LEAKY before the first number, or start from other weights and measure again.",
            )
        return
    found = statements(document, _SPLIT_BY_IMAGE)
    if found and not statements(document, _BY_PATIENT):
        yield (
            "the split goes by image, so patients can be in two parts, and the document does not say so",
            places(passage for passage, _ in found),
            "split by patient, or call the split leaky before the first number.",
        )


@rule("test-data-in-training")
def trained_and_tested(document: Document, known: RunFacts | None) -> Iterator[Found]:
    """What was trained on does not measure performance."""
    if statements(document, _LEAK_NAMED):
        return
    found = [passage for passage, match in statements(document, _SHARED) if not _CAUTIONED.search(match[0])]
    if found:
        yield (
            "images of the test part took part in the training",
            places(found),
            "measure on images that no training step has seen, or state no performance.",
        )


@rule("chosen-and-measured-on-one-part")
def chosen_and_measured(document: Document, known: RunFacts | None) -> Iterator[Found]:
    """Figures from the part that chose the model, the epoch or the threshold are called optimistic."""
    chosen = [passage for passage, _ in statements(document, _CHOSEN)]
    if not chosen or statements(document, _ADMITTED):
        return
    figures = []
    for passage in document.words:
        around = f"{passage.text} {passage.column} {passage.caption}"
        rate = stated_values(passage.text) or (
            passage.kind == CELL
            and any(True for _ in measures(passage.column))
            and re.fullmatch(r"\d*\.\d+", passage.text)
        )
        if rate and _VALIDATION.search(around) and not _TEST.search(around):
            figures.append(passage)
    if figures:
        yield (
            "the validation part made choices, and its figures stand as performance",
            places([*chosen, *figures]),
            "measure on a test part that chose nothing; say of the others that they are optimistic.",
        )


@rule("synthetic-as-clinical")
def synthetic_as_clinical(document: Document, known: RunFacts | None) -> Iterator[Found]:
    """Synthetic images are announced, as no clinical evidence, before the first figure."""
    if known is not None and not known.synthetic:
        return
    found = statements(document, _SYNTHETIC)
    if not found and not (known and known.synthetic):
        return
    for passage in document.words:
        # A cell, such as what a rule of the DICOM gate expects, announces nothing.
        if passage.kind != CELL and _NOT_REAL_WORDS.search(passage.text) and _CAUTIONED.search(passage.text):
            return
        if stated_values(passage.text) or (passage.kind == CELL and any(True for _ in measures(passage.column))):
            yield (
                "the images are synthetic, and a figure comes before any word that they are no clinical evidence",
                places([passage, *(where for where, _ in found)]),
                "say in the first lines that the images are synthetic and no clinical evidence.",
            )
            return


@rule("case-control-as-clinical")
def case_control_as_clinical(document: Document, known: RunFacts | None) -> Iterator[Found]:
    """Where sampling set the share of positives, figures that depend on it say so."""
    # A training part may be balanced as one likes; what is measured on is the question.
    found = [
        passage
        for passage, _ in statements(document, _ARTIFICIAL_SHARE)
        if not _TRAIN.search(passage.text) or _VALIDATION.search(passage.text) or _TEST.search(passage.text)
    ]
    if not found and not (known and known.sampled):
        return
    depending = [
        passage
        for passage in document.words
        if any(name in DEPENDENT for name, _ in measures(f"{passage.text} {passage.column}"))
        and any(map(str.isdigit, passage.text))
    ]
    if depending and not any(_SHARE_MATTERS.search(passage.text) for passage in document.words):
        yield (
            "sampling set the share of positives, and figures that depend on it are given as if it were the clinic's",
            places([*found, *depending]),
            "compare sensitivity and specificity instead, or compute these figures at a stated prevalence and say so.",
        )
