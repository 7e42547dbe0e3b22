"""The measurements: `./run bench [NAME …] [--write]`."""

from __future__ import annotations

import os
import platform
from collections.abc import AsyncIterator, Callable

import click
import trio

from tests.bench import (
    bench_controller,
    bench_core,
    bench_folder,
    bench_l2,
    bench_link,
    bench_loopback,
    bench_ownership,
    bench_speaker,
    bench_wire,
)
from tests.bench.measuring import RUNS, Row
from tests.interop.peers import open_peers
from tests.interop.programs import GoPeer
from tests.tree import ROOT

MEASUREMENTS: dict[str, Callable[[GoPeer | None], AsyncIterator[Row]]] = {
    "wire": bench_wire.measure,
    "core": bench_core.measure,
    "loopback": bench_loopback.measure,
    "ownership": bench_ownership.measure,
    "controller": bench_controller.measure,
    "folder": bench_folder.measure,
    "l2": bench_l2.measure,
    "link": bench_link.measure,
    "speaker": bench_speaker.measure,
}
GO_VERSION = "0.7.0"
HEAD = ["what", "ours, median", "worst", f"memberlist {GO_VERSION}, median", "worst", "ratio"]
PAGE = ROOT / "docs" / "bench.md"
TEXT = """# Measurements

Written by `./run bench --write`: {runs} runs of each on {machine}, the median and the worst. A short operation is
repeated within a run until that has taken a tenth of a second. Where hashicorp/memberlist {version} can do the same,
it was measured in the same minutes on the same machine, by the peer that the interop tests use; the ratio is ours to
theirs. Times are those of the clock, on a machine that others used too, but for the virtual hours: those are CPU time,
for they run on one core and wait for nothing.

{table}

Messages cost up to twice as much as in Go; LZW costs ten or twenty times as much, which is why only the profile
`memberlist` compresses. Fifty members on loopback wait for the first push/pulls, every thirty seconds in a ring of that
size, to repair what gossip with the profile's low number of transmissions has missed: the languages do not decide this
row. A virtual hour of a hundred members is 725,000 datagrams, each encoded, delivered, decoded and answered by the code
that is shipped.
"""


def table(rows: list[list[str]]) -> str:
    """The rows as a table of the page."""
    lines = [HEAD, ["---"] + ["---:"] * (len(HEAD) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def merge(page: str, measured: list[list[str]]) -> list[list[str]]:
    """The rows of the page with those measured now in place of the same ones, or behind them all."""
    written = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    rows = {cells[0]: cells for cells in written[2:]}
    return list((rows | {cells[0]: cells for cells in measured}).values())


async def run(names: tuple[str, ...]) -> list[Row]:
    """Take the measurements, and tell each as soon as it is there."""
    rows = []
    async with open_peers() as peers:
        peer = await peers.go("bench", GO_VERSION) if os.environ.get("STARLING_PEERS") else None
        for name in names or tuple(MEASUREMENTS):
            async for row in MEASUREMENTS[name](peer):
                rows.append(row)
                what, *figures = row.cells()
                click.echo(f"{what:45}" + "".join(f"{figure:>10}" for figure in figures))
    return rows


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MEASUREMENTS)))
@click.option("--write", is_flag=True, help="Into docs/bench.md; rows that were not measured now stay as they are.")
def main(names: tuple[str, ...], write: bool) -> None:
    """Measure, and print median and worst of ours, of memberlist's, and the ratio of the medians."""
    measured = [row.cells() for row in trio.run(run, names)]
    if write:
        rows = merge(PAGE.read_text(), measured) if names else measured
        machine = f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}"
        PAGE.write_text(TEXT.format(runs=RUNS, machine=machine, version=GO_VERSION, table=table(rows)))


if __name__ == "__main__":
    main()
