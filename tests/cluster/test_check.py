"""`starling check` as an operator meets it."""

import json
import re
import shlex
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cluster.model import ObjectName, ServiceStatus
from cluster.statuses import render_status
from starling.cli import starling
from tests.cluster.helpers import BGP_POOL, POOL, wrap
from tests.tree import ROOT

NODE = "apiVersion: v1\nkind: Node\nmetadata: {name: n}\n"
GUIDE = ROOT / "docs" / "guide" / "check.md"


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def check(*arguments: str) -> Result:
    return CliRunner().invoke(starling, ["check", *arguments])


def answer(*arguments: str) -> Any:
    result = check("--json", *arguments)
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def test_the_example() -> None:
    result = check("examples/hostnames")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "1 pool\n"
        "    rain-ip-pools  layer2  10.225.28.229/32, 10.225.28.239/32 (2 addresses)\n"
        "2 load balancers\n"
        "    default/coffee-svc  TCP 80  any address  1 of 2 endpoints usable\n"
        "    default/hostnames  TCP 80  any address  3 of 3 endpoints usable\n"
        "3 nodes\n"
        "    rain-kubernetes-1\n"
        "    rain-kubernetes-2\n"
        "    rain-kubernetes-3\n"
        "2 endpoint slices\n"
    )


def test_the_example_as_json() -> None:
    assert answer("examples/hostnames") == {
        "schema": 1,
        "errors": [],
        "warnings": [],
        "counts": {
            "files": 4,
            "objects": 8,
            "pools": 1,
            "l2_advertisements": 1,
            "bgp_advertisements": 0,
            "peers": 0,
            "bfd_profiles": 0,
            "services": 2,
            "load_balancers": 2,
            "endpoint_slices": 2,
            "nodes": 3,
            "namespaces": 0,
        },
        "ignored": {},
    }


def test_wrong_manifests(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(wrap("address-pools:\n- name: p\n  protocol: arp\n  addresses: [192.0.2.1]\n"))
    result = check(str(file))
    assert result.exit_code == 1
    assert result.stdout == (
        f"{file}:8:17: address-pools[0].protocol: 'arp' is not a value of this field\n"
        "    write layer2 or bgp\n"
        f"{file}:9:19: address-pools[0].addresses[0]: '192.0.2.1' is one address, neither a CIDR nor a range\n"
        "    write 192.0.2.1/32\n"
        "2 errors\n"
    )
    got = answer(str(file))
    assert got["errors"][0] == {
        "file": str(file),
        "line": 8,
        "column": 17,
        "message": "address-pools[0].protocol: 'arp' is not a value of this field",
        "hint": "write layer2 or bgp",
    }
    assert check("--json", str(file)).exit_code == 1


def test_what_cannot_be_read_is_told_with_all_the_rest(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("- a")
    result = check(str(tmp_path / "absent"), str(tmp_path))
    assert result.exit_code == 3
    assert result.stdout.splitlines() == [
        f"{tmp_path}/absent: No such file or directory",
        "    check the path and who may read it",
        f"{tmp_path}/m.yaml:1:1: is a list, not an object",
        "    an object begins with apiVersion and kind",
        "2 errors",
    ]
    assert answer(str(tmp_path / "absent"))["errors"] == [
        {
            "file": f"{tmp_path}/absent",
            "line": None,
            "column": None,
            "message": "No such file or directory",
            "hint": "check the path and who may read it",
        }
    ]


@pytest.mark.parametrize("arguments", [[], ["--nonsense", "x"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert check(*arguments).exit_code == 2


def test_a_summary_of_everything_else(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        wrap(
            "address-pools:\n"
            "- {name: edge, protocol: bgp, addresses: ['2001:db8::/120'], auto-assign: false}\n"
            "peers:\n- {my-asn: 1, peer-asn: 2, peer-address: 192.0.2.1}\n"
        )
        + "---\napiVersion: v1\nkind: Service\n"
        "metadata: {name: s, annotations: {metallb.io/address-pool: edge, metallb.io/loadBalancerIPs: '2001:db8::7'}}\n"
        "spec: {type: LoadBalancer, ports: [{port: 53, protocol: UDP}]}\n"
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: t}\nspec: {}\n"
        "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n"
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n"
    )
    assert check(str(tmp_path)).stdout.splitlines() == [
        "1 pool",
        "    edge  bgp  2001:db8::/120 (256 addresses, on request only)",
        "1 peer",
        "    peer1  192.0.2.1 AS 2",
        "1 load balancer",
        "    default/s  UDP 53  2001:db8::7 of 'edge'  0 of 0 endpoints usable",
        "1 other service",
        "1 namespace",
        "not read: 1 Deployment",
    ]


def test_long_sections_are_cut(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text("---\n".join(NODE.replace("n}", f"n{n}}}") for n in range(23)))
    lines = check(str(tmp_path)).stdout.splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("23 nodes", "    and 3 more", 22)


def test_no_control_character_reaches_the_terminal(tmp_path: Path) -> None:
    hostile = "\x1b[2J"
    (tmp_path / f"{hostile}.yaml").write_text(
        wrap('address-pools:\n- name: "\\e[2J"\n  protocol: "\\e[2J"\n  "\\e[2J": 1\n')
        + '---\napiVersion: v1\nkind: "\\e[2J"\n---\napiVersion: v1\nkind: Node\nmetadata: {name: "\\e[2J"}\n'
    )
    result = check(str(tmp_path))
    assert result.exit_code == 1
    assert "\x1b" not in result.stdout


def test_warnings_are_shown_before_the_summary_and_change_no_exit_code(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    service = (
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{0}, annotations: {{metallb.io/address-pool: q}}}}\n"
    )
    spec = "spec: {type: LoadBalancer, ports: [{port: 80}]}\n"
    file.write_text(wrap(POOL) + "".join(service.format(number) + spec for number in range(22)))
    result = check(str(file))
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:2] == [
        f"{file}:11:1: warning: 'default/s0' asks for the pool 'q', and there is none of that name",
        "    write 'p'",
    ]
    assert lines[40:42] == ["22 warnings", "1 pool"]
    got = answer(str(file))
    assert len(got["warnings"]) == 22
    assert got["warnings"][0] == {
        "file": str(file),
        "line": 11,
        "column": 1,
        "message": "'default/s0' asks for the pool 'q', and there is none of that name",
        "hint": "write 'p'",
    }


def test_where_there_are_mistakes_nothing_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(wrap(BGP_POOL) + "---\n" + NODE.replace("n}", "N}"))
    got = answer(str(file))
    assert (len(got["errors"]), got["warnings"]) == (1, [])


def test_the_statuses_of_a_folder_are_no_manifests(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text(NODE)
    (tmp_path / "status").mkdir()
    status = ServiceStatus(service=ObjectName("default", "web"), ingress=(IPv4Address("192.0.2.1"),))
    (tmp_path / "status" / "default.web.yaml").write_text(render_status(status))
    result = check(str(tmp_path))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["1 node", "    n", "not read: 1 ServiceStatus"]


# ---- the guide


def test_the_guide_shows_what_the_command_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = GUIDE.read_text()
    (manifest,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    shown = re.findall(r"^\$ starling (check [^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(shown) == 3
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "config.yaml").write_text(manifest)
    monkeypatch.chdir(tmp_path)
    for command, output in shown:
        assert CliRunner().invoke(starling, shlex.split(command)).stdout == output
