"""Wrong input while everything runs: what was good stays in force, and what is wrong is said with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sim.lab.nodes import MANIFESTS, python
from sim.lab.plan import CLIENT
from sim.lab.processes import Program
from tests.e2e.recorder import Recorder
from tests.e2e.speakers import eventually
from tests.e2e.stage import Stage

pytestmark = [pytest.mark.needs("netns"), pytest.mark.slow]

EXIT_UNAVAILABLE = 3

BROKEN: dict[str, tuple[str, str, int]] = {
    "no YAML": ("services.yaml", "kind: [Service\n", 2),
    "a port that is none": (
        "services.yaml",
        """\
apiVersion: v1
kind: Service
metadata: {name: svc-1, namespace: default}
spec:
  type: LoadBalancer
  ports:
  - port: 70000
""",
        7,
    ),
    "overlapping pools": (
        "config.yaml",
        """\
apiVersion: v1
kind: ConfigMap
metadata: {namespace: metallb-system, name: config}
data:
  config: |
    address-pools:
    - name: one
      protocol: layer2
      addresses: [10.225.28.100-10.225.28.102]
    - name: other
      protocol: layer2
      addresses: [10.225.28.102/32]
""",
        12,
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_broken_manifest_changes_nothing(stage: Stage, observer: Recorder, kind: str) -> None:
    name, text, line = BROKEN[kind]
    wanted = {address: stage.winner(address) for address in stage.addresses}
    before = stage.manifests.path(name).read_text()
    stage.manifests.put(name, text)
    place = f"{stage.manifests.path(name)}:{line}:"
    for node in stage.nodes:
        said = await stage.speakers.logged(node, "configStale")
        assert place in said["error"]
    status = await stage.speakers.status(stage.nodes[0])
    assert status["verdict"] == "warning"
    assert any(place in reason for reason in status["reasons"])
    assert await stage.settled(observer, wanted) == wanted
    assert {await stage.fetch(address) for address in stage.addresses} == set(wanted.values())
    stage.manifests.put(name, before)
    for node in stage.nodes:
        await stage.speakers.logged(node, "configLoaded")
    assert (await stage.speakers.status(stage.nodes[0]))["verdict"] == "ok"
    assert await stage.settled(observer, wanted) == wanted


async def test_an_address_outside_every_pool_is_not_given_and_that_is_said(stage: Stage, observer: Recorder) -> None:
    address = "10.225.28.199"
    with stage.manifests.edited("services.yaml") as documents:
        documents.append(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "astray", "namespace": "default"},
                "spec": {"type": "LoadBalancer", "loadBalancerIP": address, "ports": [{"port": 80}]},
            }
        )
    written = stage.lab.folder / MANIFESTS / "status" / "default.astray.yaml"
    status: dict[str, Any] = await eventually(lambda: written.exists() and yaml.safe_load(written.read_text()))
    assert address in status["status"]["message"]
    assert "ingress" not in status["status"]["loadBalancer"]
    code, text = await stage.speakers.command("why", address, "--api", str(stage.lab.api("n1")))
    assert code == 1
    assert address in text
    assert await observer.ask(address) == []
    stage.manifests.restore("services.yaml")
    await eventually(lambda: not written.exists())


async def start_another(stage: Stage, tmp_path: Path, node: str, *words: str) -> Program:
    """A speaker on the client's host."""
    address = stage.client.address
    command = python(
        *("starling", "speaker", "--node", node, "--source", str(stage.lab.folder / MANIFESTS), "--bind", address),
        *("--profile", "local", "--api", str(tmp_path / "api.sock"), "--state", str(tmp_path / "state"), *words),
    )
    return await stage.lab.start(CLIENT, f"speaker-{tmp_path.name}", command)


async def test_a_node_without_a_fit_interface_says_so(stage: Stage, observer: Recorder, tmp_path: Path) -> None:
    program = await start_another(stage, tmp_path, "n9", "--interface", "nosuch0")
    try:
        await eventually(lambda: (tmp_path / "api.sock").exists() and "notReady" in program.output.read_text())
        await eventually(lambda: "configLoaded" in program.output.read_text())
        code, text = await stage.speakers.command("status", "--api", str(tmp_path / "api.sock"))
        assert code == 1
        assert "n9: error" in text
        assert "no interface is fit" in text
    finally:
        program.ask_to_stop()
        await program.wait()


async def test_a_second_node_of_one_name_is_refused(stage: Stage, observer: Recorder, tmp_path: Path) -> None:
    wanted = {address: stage.winner(address) for address in stage.addresses}
    name = wanted[stage.addresses[0]]
    joins = [word for node in stage.nodes for word in ("--join", stage.host(node).address)]
    program = await start_another(stage, tmp_path, name, "--interface", "eth0", *joins)
    try:
        await eventually(lambda: "--node" in program.last_words())
        await program.wait()
        words = program.last_words()
        assert f"called {name}" in words
        assert stage.host(name).address in words
        assert "Traceback" not in program.errors.read_text()
    finally:
        program.kill()
    assert await stage.settled(observer, wanted) == wanted
    assert await stage.fetch(stage.addresses[0]) == name
    told = [json.loads(line) for line in program.output.read_text().splitlines()]
    assert not [line for line in told if line["event"] == "serviceAnnounced"]
