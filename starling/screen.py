"""Draws a scene on a terminal of 80 columns and 24 lines, and as a picture. Imported only where one of them is wanted.

Rules kept here:

* Colours say nothing that signs and words do not say too.
* A picture is the same bytes for the same scene, and refers to nothing outside of itself.
"""

from __future__ import annotations

import io
import re
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from starling.scene import Scene

WIDTH: Final = 80
MAX_HEIGHT: Final = 23
"""Lines, so that what the shell says next still fits; more nodes than a dozen need more."""
MIN_LINES: Final = 3
"""Of the story."""
COLOURS: Final = ("cyan", "yellow", "magenta", "green", "blue")
"""Of the nodes, in turn."""
DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
"""The sign of each node in the heartbeat, by its number."""

LEADING_BLANKS: Final = re.compile(
    r'x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)" textLength="(?P<length>[\d.]+)" (?P<clip>[^>]+)>(?P<blanks>(&#160;)+)(?=[^<])'
)
CELL: Final = 12.2
"""Width of a character of a picture."""


def draw(scene: Scene, now: float) -> RenderableType:
    """The whole view."""
    title = f"{scene.service} at {scene.address}" if scene.address else "waiting for an address"
    lines = max(MIN_LINES, MAX_HEIGHT - len(scene.nodes) - 9)
    return Group(
        Panel(_nodes(scene), title=title, width=WIDTH, height=len(scene.nodes) + 3),
        Panel(Group(_heartbeat(scene), _silence(scene, now)), title="the client's requests", width=WIDTH),
        Panel(_story(scene, lines), title="what happened", width=WIDTH, height=lines + 2),
    )


def picture(scene: Scene, now: float) -> str:
    """The view as SVG."""
    console = Console(width=WIDTH, record=True, file=io.StringIO(), color_system="truecolor", force_terminal=True)
    console.print(draw(scene, now))
    svg = console.export_svg(title="starling demo", unique_id="demo")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    svg = LEADING_BLANKS.sub(_without_blanks, svg)
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def _without_blanks(text: re.Match[str]) -> str:
    """A text that begins where something of it is seen: some programs leave out blanks at the beginning."""
    width = CELL * text["blanks"].count(";")
    x, length = float(text["x"]) + width, float(text["length"]) - width
    return f'x="{x:g}" y="{text["y"]}" textLength="{length:g}" {text["clip"]}>'


def _sign(scene: Scene, name: str) -> Text:
    number = scene.number(name)
    sign = DIGITS[number] if number < len(DIGITS) else "+"
    return Text(sign, style=COLOURS[(number - 1) % len(COLOURS)]) if number else Text("?")


def _nodes(scene: Scene) -> Table:
    table = Table(box=None, expand=True)
    for heading in ("", "node", "address", "cable", "speaker", "answers"):
        table.add_column(heading, no_wrap=True)
    for node in scene.nodes:
        cable = Text("in") if node.has_cable else Text("CUT", style="bold red")
        speaker = Text(node.speaker, style="" if node.speaker == "runs" else "bold red")
        owner = Text(f"● {scene.address}", style="bold") if node.name in scene.owners else Text("")
        table.add_row(_sign(scene, node.name), node.name, node.address, cable, speaker, owner)
    return table


def _heartbeat(scene: Scene) -> Text:
    line = Text("✓ ")
    for _, by in scene.beats:
        line.append_text(_sign(scene, by) if by else Text("×", style="bold red"))
    return line


def _silence(scene: Scene, now: float) -> Text:
    silent = scene.silent_for(now)
    if not silent:
        return Text("answered" if scene.answered_at is not None else "")
    return Text(f"no answer for {silent:.1f} s", style="bold red")


def _story(scene: Scene, lines: int) -> Group:
    told = (f"{at - scene.began_at:7.2f} s  {text}" for at, text in scene.story[-lines:])
    return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in told))
