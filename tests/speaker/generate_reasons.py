"""Renders docs/reference/reasons.md: every reason that `starling why` can give, by its name and in words."""

from __future__ import annotations

from speaker.ownership import REASONS, Reason

HEAD = """\
# Reasons

Generated from the table `REASONS` in `speaker/ownership.py` by `./run docs`.

`starling why ADDRESS` says who announces an address, and why. The names are what scripts read in `reasons` with
`--json`; the sentences are what a person is shown. [The design](../design.md), section 5, has the rules.
"""
SECTIONS = {
    Reason.OUTSIDE_POOLS: (
        "Why nobody announces an address",
        "Beside every node too, when the address itself is at fault.",
    ),
    Reason.METALLB_CONFIGURED: ("What is unusual about an election", "It came to an owner all the same."),
    Reason.NOT_IN_RING: (
        "What there is against a node",
        "A node with one of these is no candidate. All that apply are given.",
    ),
    Reason.UNMARKED: (
        "Why a candidate comes where it comes",
        "The first is the owner; the others take over in this order.",
    ),
}
"""By the first reason of each section: its heading, and what holds for all of it."""


def render() -> str:
    """The whole page."""
    lines = [HEAD]
    for reason, sentence in REASONS.items():
        if reason in SECTIONS:
            heading, note = SECTIONS[reason]
            lines.append(f"\n## {heading}\n\n{note}\n\n| reason | meaning |\n|---|---|\n")
        lines.append(f"| `{reason}` | {sentence} |\n")
    return "".join(lines)
