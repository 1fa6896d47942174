"""Labels that are made of others: uncertain ones settled by a policy, and "Abnormal", which sums up the findings.

An uncertain label is one that a report left open. The table keeps in words which images it was.

Source:
    Irvin et al., "CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison", AAAI 2019,
    section "Uncertainty approaches" (there U-Ignore, U-Zeros, U-Ones, U-SelfTrained, U-MultiClass).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from chexkeras import checks
from chexkeras import findings as vocabulary
from chexkeras.arguments import checked
from chexkeras.data import image_table
from chexkeras.data.image_table import source_of
from chexkeras.evaluation.scores import Scores

BECOMES: dict[str, float] = {
    "ignore": np.nan,
    "zeros": 0.0,
    "ones": 1.0,
    "self_trained": np.nan,
    "multiclass": np.nan,
}
"""What an uncertain label becomes under each policy.

"ignore", "self_trained" and "multiclass" leave it unknown, so that no evaluation counts it; the last two are told from
the first by what training does: a second pass on labels that `fill_uncertain` filled, or a third class per finding,
taken from `uncertain_mask`.
"""

POLICIES = tuple(BECOMES)
BLANKS = ("negative", "unknown")
_FILLED = "self_trained, filled"
# A label that a model gave is never taken for one that a report gave.
_NEVER_CERTAIN = 1e-6


def policies(uncertain: str | Mapping[str, str], findings: Sequence[str]) -> dict[str, str]:
    """Returns the policy of every finding.

    Args:
        uncertain: One policy for all, or a policy per finding; findings that it does not name are ignored when
            uncertain.
        findings: The findings loaded.

    Returns:
        Policy by finding, in the order of `findings`.

    Raises:
        ValueError: If a policy is unknown, or a finding is not among `findings` or is named twice.

    Example:
        >>> policies({"edema": "ones"}, ["Edema", "Atelectasis"])
        {'Edema': 'ones', 'Atelectasis': 'ignore'}
    """
    if isinstance(uncertain, str):
        checks.one_of(uncertain, POLICIES, "uncertain")
        return dict.fromkeys(findings, uncertain)
    chosen: dict[str, str] = {}
    if uncertain:
        names = vocabulary.resolve(uncertain, findings)
        chosen = dict(zip(names, uncertain.values(), strict=True))
    for name, policy in chosen.items():
        checks.one_of(policy, POLICIES, f"uncertain[{name!r}]")
    return {name: chosen.get(name, "ignore") for name in findings}


def settle(raw: np.ndarray, policy_of: Mapping[str, str], blank: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Turns a data set's own marks into labels, and keeps in words which were uncertain.

    Args:
        raw: Float array (n_images, n_findings): 1 present, 0 absent, -1 uncertain, NaN blank.
        policy_of: Policy by finding, in the order of the columns.
        blank: What a blank means: "negative" or "unknown".

    Returns:
        Label column by finding (1, 0 or NaN), and the text of the column `image_table.UNCERTAIN`.
    """
    checks.one_of(blank, BLANKS, "blank")
    findings = list(policy_of)
    marked = raw == -1.0
    labels = {}
    for index, (finding, policy) in enumerate(policy_of.items()):
        values = np.where(marked[:, index], BECOMES[policy], raw[:, index])
        labels[finding] = np.where(np.isnan(raw[:, index]), 0.0 if blank == "negative" else np.nan, values)
    # A few thousand combinations stand for all images: each, as the bits of a number, is put into words once.
    codes, combinations = pd.factorize(marked @ (1 << np.arange(len(findings))))
    texts = ["|".join(name for bit, name in enumerate(findings) if number >> bit & 1) for number in combinations]
    return labels, np.asarray(texts, dtype=object)[codes]


@checked
def uncertain_mask(table: pd.DataFrame, findings: str | Iterable[str] | None = None) -> pd.DataFrame:
    """Returns which labels were uncertain before a policy settled them.

    Args:
        table: An image table.
        findings: Which labels, in this order; None takes all label columns.

    Returns:
        Boolean table with the index of `table` and one column per label; all False for a data set without uncertain
        labels.

    Raises:
        ValueError: If a finding is no label of the table.
    """
    names = image_table.label_columns(table) if findings is None else image_table.resolve_targets(table, findings)
    if image_table.UNCERTAIN not in table.columns:
        return pd.DataFrame(False, index=table.index, columns=list(names))
    codes, texts = pd.factorize(table[image_table.UNCERTAIN].fillna("").astype(str))
    marked = np.asarray([[name in text.split("|") for name in names] for text in texts], dtype=bool)
    return pd.DataFrame(marked.reshape(len(texts), len(names))[codes], index=table.index, columns=list(names))


def policy_cautions(table: pd.DataFrame, policy_of: Mapping[str, str]) -> tuple[str, ...]:
    """Returns what a reader must know of labels that a policy made certain: images of every part may hold them.

    Args:
        table: An image table with the column `image_table.UNCERTAIN`.
        policy_of: Policy by finding.
    """
    mask = uncertain_mask(table)
    sentences = []
    for policy, word in (("ones", "present"), ("zeros", "absent")):
        settled = [name for name in mask.columns if policy_of[name] == policy and mask[name].any()]
        if settled:
            sentences.append(f"Uncertain labels count as {word}, where images are evaluated too: {', '.join(settled)}.")
    return tuple(sentences)


def refuse_third_class(table: pd.DataFrame, targets: str | Iterable[str]) -> None:
    """Checks that a model without a third class can learn the targets as their policy left them.

    Args:
        table: An image table.
        targets: The findings to learn.

    Raises:
        ValueError: If the policy of one is "multiclass".
    """
    policy_of = dict(source_of(table).uncertain_policy)
    for name in image_table.resolve_targets(table, targets):
        if policy_of.get(name) == "multiclass":
            raise ValueError(
                f"the uncertain labels of {name} were loaded with 'multiclass', which takes a model with a third class "
                "for them: head=three_way and loss.name=three_way (on the command line --set head=three_way "
                "--set loss.name=three_way). Any other leaves them unknown: choose 'ignore' for "
                "that, 'zeros', 'ones' or 'self_trained'."
            )


@checked
def fill_uncertain(table: pd.DataFrame, scores: pd.DataFrame, *, threshold: float | None = None) -> pd.DataFrame:
    """Replaces uncertain labels by what a first model says: the second pass of the policy "self_trained".

    The first model is trained with these labels unknown and scores the training images. Give the scores of the training
    part alone: images without a score stay unknown, so that validation and test are still measured on labels that a
    report gave. Keep the split too, by ``dataclasses.replace(splits, table=filled)``: a new one could move
    patients, and the first model has seen the training images.

    Args:
        table: An image table loaded with "self_trained" for these findings.
        scores: The first model's table of scores, as `predict_scores` makes it.
        threshold: None keeps the probability as the label, as in the paper, which the losses here accept; a number in
            (0, 1) makes it 1 where score >= threshold and 0 elsewhere, for software that takes no other labels.

    Returns:
        A copy with the labels filled; its source says so.

    Raises:
        ValueError: If the scores are malformed, are of other images or findings, a finding was loaded with another
            policy, or no uncertain label has a score.

    Source:
        Irvin et al., AAAI 2019: each uncertain label is relabelled with the probability predicted by a model trained
        on the certain ones; labels of 1 and 0 are left alone.
    """
    clean = Scores.of(scores)
    if threshold is not None:
        checks.probability(threshold, "threshold", open_interval=True)
    checks.require_columns(table, ("image_id", image_table.UNCERTAIN), "the table", "Load it with uncertain labels.")
    image_ids = checks.identifiers(table["image_id"], "image_id of the table")
    foreign = ~clean["image_id"].isin(image_ids)
    if foreign.any():
        raise ValueError(
            f"{clean['image_id'][foreign].nunique()} scored image(s) are not in the table, first "
            f"{clean['image_id'][foreign].iloc[0]!r}; give the table that was scored."
        )
    source = source_of(table)
    policy_of = dict(source.uncertain_policy)
    wide = clean.pivot(index="image_id", columns="finding", values="score").reindex(image_ids)
    mask = uncertain_mask(table, list(wide.columns))
    filled = table.copy()
    count = 0
    for scored, name in zip(wide.columns, mask.columns, strict=True):
        if policy_of.get(name, "self_trained") not in ("self_trained", _FILLED):
            raise ValueError(
                f"{name} was loaded with uncertain={policy_of[name]!r}; load it with 'self_trained' (on the command "
                f"line --uncertain '{name}=self_trained'), or leave its scores out."
            )
        score = wide[scored].to_numpy()
        rows = mask[name].to_numpy() & table[name].isna().to_numpy() & ~np.isnan(score)
        soft = np.clip(score, _NEVER_CERTAIN, 1.0 - _NEVER_CERTAIN)
        label = soft if threshold is None else (score >= threshold).astype(float)
        filled[name] = np.where(rows, label, table[name].to_numpy(dtype=float))
        policy_of[name] = _FILLED
        count += int(rows.sum())
    if not count:
        raise ValueError(
            f"none of the scored images has an uncertain label of {', '.join(mask.columns)}; give the scores of the "
            "training images, of a table loaded with uncertain='self_trained' (on the command line --uncertain "
            "self_trained)."
        )
    filled.attrs = {**table.attrs, "source": replace(source, uncertain_policy=tuple(policy_of.items()))}
    return filled


@checked
def add_abnormal(table: pd.DataFrame, findings: Iterable[str] | None = None) -> pd.DataFrame:
    """Returns the table with a column "Abnormal", a target like any other.

    An image is abnormal (1) when any finding is present, normal (0) when "No Finding" is, or when every finding is
    known to be absent, and unknown (NaN) otherwise. Where "No Finding" contradicts a finding, the finding counts.
    CheXpert's Support Devices make no image abnormal: its own "No Finding" leaves them out too.

    Args:
        table: An image table.
        findings: The findings that count; None takes all of the table's.

    Returns:
        A copy with the column after the other labels (replaced, if there was one), and the table's source.

    Raises:
        ValueError: If a finding is no label of the table, or only some of a data set's findings are there and
            `findings` does not say that these are enough: an image without them may well show another.

    Example:
        >>> table = pd.DataFrame({"Edema": [1.0, 0.0, np.nan], "Mass": [0.0, 0.0, 0.0]})
        >>> add_abnormal(table, ["Edema", "Mass"])["Abnormal"].tolist()
        [1.0, 0.0, nan]
    """
    summed = _findings_to_sum_up(table) if findings is None else image_table.resolve_targets(table, findings)
    known = table[list(summed)]
    present = (known == 1).any(axis=1)
    absent = (known == 0).all(axis=1)
    if vocabulary.NO_FINDING in image_table.label_columns(table):
        absent |= table[vocabulary.NO_FINDING] == 1
    abnormal = np.where(present, 1.0, np.where(absent, 0.0, np.nan))
    result = table.drop(columns=vocabulary.ABNORMAL, errors="ignore")
    present_columns = list(result.columns)
    last = max(present_columns.index(label) for label in image_table.label_columns(result))
    result.insert(last + 1, vocabulary.ABNORMAL, abnormal)
    return result


def _findings_to_sum_up(table: pd.DataFrame) -> tuple[str, ...]:
    summed = tuple(name for name in image_table.finding_columns(table) if name != vocabulary.SUPPORT_DEVICES)
    if not summed:
        raise ValueError("the table has no finding to tell normal from abnormal by; load it with its findings.")
    if vocabulary.NO_FINDING in image_table.label_columns(table):
        return summed
    for data_set, names in (("NIH", vocabulary.NIH14), ("CheXpert", vocabulary.CHEXPERT14)):
        full = set(names) - {vocabulary.NO_FINDING, vocabulary.SUPPORT_DEVICES}
        if set(summed) < full:
            raise ValueError(
                f"the table holds {len(summed)} of {data_set}'s findings ({', '.join(summed)}): an image "
                "without these may show another. Load them all, or name the findings that count with findings=."
            )
    return summed
