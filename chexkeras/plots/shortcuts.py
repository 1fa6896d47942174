"""What a model could learn in place of a finding: how well view, age and sex, image size and a thumbnail tell it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chexkeras.data.audit.result import Audit
from chexkeras.data.audit.shortcuts import INFORMATIVE_AUROC, SHORTCUTS, Shortcut
from chexkeras.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOOKS = {
    "view": (style.BLUE, "o"),
    "age and sex": (style.ORANGE, "s"),
    "image size": (style.GREEN, "^"),
    "thumbnail": (style.PURPLE, "D"),
}


@style.styled
def shortcuts(
    audit: Audit | Sequence[Shortcut],
    finding: str | None = None,
    *,
    ax: "Axes | None" = None,
    note: str | Sequence[str] | None = None,
) -> "Axes":
    """Draws the AUROC of each shortcut alone with its interval; filled where it is informative.

    Args:
        audit: An audit, or what `data.audit.shortcuts.shortcuts` returned.
        finding: Draw this finding only.
        ax: Axes to draw on; a new figure by default.
        note: Sentences written on the figure; by default the cautions that the audit's table carries.

    Returns:
        The axes.

    Raises:
        ValueError: If nothing was measured, or nothing for `finding`.
    """
    measured = audit.shortcuts if isinstance(audit, Audit) else tuple(audit)
    chosen = [shortcut for shortcut in measured if finding in (None, shortcut.finding)]
    if not chosen:
        there = ", ".join(dict.fromkeys(shortcut.finding for shortcut in measured)) or "none"
        asked = f" of {finding!r}" if finding else ""
        raise ValueError(
            f"no shortcuts{asked} were measured (there are: {there}); name the finding: audit(table, targets='...')."
        )
    findings = list(dict.fromkeys(shortcut.finding for shortcut in chosen))
    names = [name for name in SHORTCUTS if any(shortcut.name == name for shortcut in chosen)]
    single = len(findings) == 1
    rows = names if single else findings
    ax = style.axes(ax, 6.4, 1.7 + (0.42 if single else 0.16 * len(names) + 0.08) * len(rows))
    for shortcut in (one for one in chosen if one.auroc.estimable):
        area, (colour, marker) = shortcut.auroc, _LOOKS[shortcut.name]
        offset = 0.0 if single else (names.index(shortcut.name) - (len(names) - 1) / 2) * 0.8 / len(names)
        place = rows.index(shortcut.name if single else shortcut.finding) + offset
        ax.errorbar(
            area.value, place, xerr=[[area.value - area.low], [area.high - area.value]], fmt=marker, color=colour,
            markerfacecolor=colour if shortcut.informative else "white", markersize=5, capsize=2.5, linewidth=1.3,
        )  # fmt: skip
        if single:
            ax.annotate(f" {shortcut}", (area.high, place), xytext=(3, 0), textcoords="offset points", va="center")
    for shortcut in (one for one in chosen if single and not one.auroc.estimable):
        place = rows.index(shortcut.name)
        ax.annotate(f"not estimable: {shortcut.auroc.reason}", (0.5, place), va="center", fontsize=8.5, xytext=(4, 0),
                    textcoords="offset points")  # fmt: skip
    ax.axvline(0.5, color=style.INK, linewidth=1)
    ax.axvline(INFORMATIVE_AUROC, color=style.GREY, linewidth=1, linestyle=":")
    ax.set_yticks(range(len(rows)), [style.words(row) for row in rows])
    room = 0.0 if single else 0.9
    ax.set_ylim(len(rows) - 0.5 + room, -0.5)
    estimable = [shortcut.auroc for shortcut in chosen if shortcut.auroc.estimable]
    left, right = min([0.46, *(area.low - 0.01 for area in estimable)]), max([0.7, *(area.high for area in estimable)])
    # Beside the last interval there is room for its numbers.
    ax.set_xlim(left, right + (right - left) * (0.42 if single else 0.03))
    ax.set_xticks([tick for tick in ax.get_xticks() if left <= tick <= 1])
    if not single:
        handles = [ax.plot([], [], _LOOKS[name][1], color=_LOOKS[name][0], label=name)[0] for name in names]
        ax.legend(handles=handles, loc="lower right", ncols=len(names))
    ax.set_xlabel(f"AUROC from this alone (95 % CI); filled from {INFORMATIVE_AUROC:g} (dotted): informative")
    ax.grid(axis="y", visible=False)
    what = style.words(findings[0]) if single else f"{len(findings)} findings"
    style.title(ax, f"Shortcuts to {what}", style.cautions(note, audit.table if isinstance(audit, Audit) else None))
    return ax
