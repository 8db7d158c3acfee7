"""The tabs, in the order in which the page shows them."""

from __future__ import annotations

from gentool.explore.session import Subject
from gentool.explore.tabs import mix, panel, plane, reconstruct, restore, samples, sliders, training
from gentool.explore.tabs.tab import Tab

TABS: tuple[Tab, ...] = (
    samples.TAB,
    plane.TAB,
    sliders.TAB,
    reconstruct.TAB,
    mix.TAB,
    restore.TAB,
    training.TAB,
    panel.TAB,
)


def fitting(subject: Subject) -> list[Tab]:
    """The tabs that a run or file can fill."""
    return [tab for tab in TABS if tab.fits(subject)]
