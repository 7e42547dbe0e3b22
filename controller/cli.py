"""The command `starling controller`: checks the options; `controller.run` does the work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from controller.run import EXIT_UNAVAILABLE, ControllerSettings, run_controller, run_once

KUBE: Final = "kube"
"""The name of the source that is not a folder."""
STDOUT: Final = 1


@click.command()
@click.option("--source", required=True, metavar="DIR", help="The folder of the manifests. It need not be there yet.")
@click.option("--lb-class", metavar="CLASS", help="Only services of this loadBalancerClass; without it those of none.")
@click.option("--once", is_flag=True, help="Make one pass and end.")
def controller(source: str, lb_class: str | None, once: bool) -> None:
    """Give addresses to services of type LoadBalancer.

    Reads MetalLB's ConfigMap and the Services in DIR and below, follows their changes, and writes what each service has
    into DIR/status. Says what it does in JSON, one object a line.

    Exit codes: 0 fine, 1 (with --once) a service is without an address, 2 wrong usage, 3 the folder cannot be used,
    or another controller does.
    """
    if source == KUBE:
        _complain("the source kube is not there yet; give a folder (a folder of that name is ./kube)")
        sys.exit(EXIT_UNAVAILABLE)
    if Path(source).is_file():
        raise click.BadParameter(f"{source} is a file; give the folder that it is in", param_hint="--source")
    settings = ControllerSettings(folder=source, load_balancer_class=lb_class or None)
    sys.exit(run_once(settings, _complain) if once else run_controller(settings, _complain, STDOUT))


def _complain(reason: str) -> None:
    click.echo(f"starling controller: {reason}", err=True)
