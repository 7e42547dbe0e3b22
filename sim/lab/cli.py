"""The commands `starling lab up`, `run` and `down`.

Rules kept here:

* Exit codes: 0 fine, 1 an expectation failed or no lab runs, 2 wrong usage or a wrong file, 3 no lab can be had here.
* With `--json` the standard output holds one JSON object and nothing else; the story goes to standard error.
* However a command ends, nothing that it made is left; what was killed is swept up by the next.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

import click
import trio

from gossip import PROFILES
from sim.lab.clients import wait_served
from sim.lab.endings import EXIT_UNAVAILABLE, refusing, until_signalled
from sim.lab.folders import open_folder, running
from sim.lab.nodes import Lab, copy_manifests, environment, open_lab, starling, write_manifests
from sim.lab.plan import CLIENT, MAX_NODES, MAX_SERVICES, OBSERVER, render_manifests
from sim.lab.scenario import decode_scenario_untrusted
from sim.lab.story import run_scenario, write_plan
from sim.lab.verdicts import tell

EXIT_NO: Final = 1
DOWN_TIMEOUT: Final = 20.0
"""Seconds for a lab to end when it is asked to."""


@click.group()
def lab() -> None:
    """Clusters on this machine, in network namespaces: real speakers, real frames, faults on request.

    Needs root, or user namespaces. Nothing outside of the lab is touched, and nothing is left when it ends.
    """


profile_option = click.option(
    "--profile", type=click.Choice(list(PROFILES)), default="lan", show_default=True, help="Timings of the ring."
)


@lab.command()
@click.option("--nodes", type=click.IntRange(1, MAX_NODES), help="Machines.  [default: 3, or those of --source]")
@click.option("--services", type=click.IntRange(1, MAX_SERVICES), help="Services.  [default: 1, or those of --source]")
@click.option(
    "--source",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of manifests with Nodes and Services; it is copied.",
)
@profile_option
@click.option("--detach", is_flag=True, help="Come back when the lab is up; `starling lab down` ends it.")
@click.option("--background", is_flag=True, hidden=True, help="Be what --detach starts.")
def up(
    nodes: int | None, services: int | None, source: Path | None, profile: str, detach: bool, background: bool
) -> None:
    """Start a cluster to play with, and say how to get in. Ctrl-C or `starling lab down` ends it."""
    if source is not None and (nodes or services):
        raise click.UsageError("the manifests of --source say which nodes and services there are")
    if detach:
        _detach()
    with refusing("lab up"), open_folder("up") as folder:
        if source is not None:
            copy_manifests(source, folder)
        else:
            names = [f"n{number}" for number in range(1, (nodes or 3) + 1)]
            wanted = [f"svc-{number}" for number in range(1, (services or 1) + 1)]
            write_manifests({name: text.encode() for name, text in render_manifests(names, wanted).items()}, folder)
        trio.run(until_signalled, partial(_stay_up, folder, profile, background))


async def _stay_up(folder: Path, profile: str, background: bool) -> None:
    async with open_lab(folder, starling(profile)) as opened:
        await opened.while_all_run(opened.wait_assigned)
        await opened.while_all_run(partial(wait_served, opened))
        for line in describe(opened):
            click.echo(line)
        if background:  # whoever waits for us has read enough
            sys.stdout.flush()
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
        await trio.sleep_forever()


def describe(opened: Lab) -> Iterator[str]:
    """How to get into a lab."""
    ports = {service.name: service.port for service in opened.plan.services}
    root = " ".join(opened.lan.root.prefix)
    yield f"the lab is up; its manifests, statuses and logs are in {opened.folder}"
    for name, address in opened.addresses.items():
        yield f"  service {name}  http://{address}:{ports[name]}/"
    for name, node in opened.nodes.items():
        yield f"  node {name}  {node.host.address}  cable {node.host.port}  api {opened.api(name)}"
        yield f"      {' '.join(node.host.namespace.prefix)}"
    for name in (CLIENT, OBSERVER):
        yield f"  {name}  {opened.lan.hosts[name].address}"
        yield f"      {' '.join(opened.lan.hosts[name].namespace.prefix)}"
    first = next(iter(opened.nodes.values()))
    service, address = next(iter(opened.addresses.items()))
    yield "for example"
    yield f"  {' '.join(opened.lan.hosts[CLIENT].namespace.prefix)} curl http://{address}:{ports[service]}/"
    yield f"  starling why {address} --api {opened.api(first.name)}"
    yield f"  {root} ip link set {first.host.port} down"
    yield "  starling lab down"


def _detach() -> NoReturn:
    """Have a process of its own do the same without --detach, pass on what it says, and leave it alone."""
    words = [word for word in sys.argv[1:] if word != "--detach"]
    command = [sys.executable, "-P", "-m", "starling", *words, "--background"]
    with subprocess.Popen(
        command,
        env={**os.environ, **environment()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            click.echo(line.decode(), nl=False)
        code = child.poll()
        if code is None:
            os._exit(0)  # not waiting for it
    sys.exit(code)


@lab.command()
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "with_json", is_flag=True, help="Print one JSON object; the story goes to standard error.")
@click.option("--keep", type=click.Path(path_type=Path), help="Copy what every program printed to this new folder.")
def run(file: Path, with_json: bool, keep: Path | None) -> None:
    """Tell the story of a scenario file and hold what clients saw against its expectations.

    Exit codes: 0 all expectations met, 1 not all, 2 the file is wrong, 3 no lab can be had here.
    """
    with refusing("lab run"):
        scenario = decode_scenario_untrusted(file.read_bytes(), str(file))
    told: dict[str, Any] = {}

    def say(line: str) -> None:
        click.echo(line, err=True)

    async def tell_it(folder: Path) -> None:
        told.update(await run_scenario(scenario, folder, starling(scenario.profile), say))

    with refusing("lab run"), open_folder("run") as folder:
        write_plan(scenario, file.parent, folder)
        try:
            trio.run(until_signalled, partial(tell_it, folder))
        finally:
            if keep is not None:
                _keep(folder, keep)
    if with_json:
        click.echo(json.dumps(told))
    else:
        for line in tell(told):
            click.echo(line)
    sys.exit(0 if told["passed"] else EXIT_NO)


@lab.command()
def down() -> None:
    """End every lab that `starling lab up` has running."""
    labs = running("up")
    if not labs:
        click.echo("no lab is running")
        sys.exit(EXIT_NO)
    for pid in labs.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    left = trio.run(_wait_gone, labs)
    for folder in labs:
        click.echo(f"{'still there' if folder in left else 'ended'}: {folder}")
    sys.exit(EXIT_UNAVAILABLE if left else 0)


async def _wait_gone(labs: Mapping[Path, int]) -> list[Path]:
    """Wait until the processes that run labs have ended; gives the folders of those that have not in time."""
    with trio.move_on_after(DOWN_TIMEOUT):
        for pid in labs.values():
            with suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                await trio.lowlevel.wait_readable(pidfd)
                os.close(pidfd)
    return [folder for folder in running("up") if folder in labs]


def _keep(folder: Path, target: Path) -> None:
    """Copy what is worth keeping: everything but sockets and locks."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            copy = target / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
