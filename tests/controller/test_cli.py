"""`starling controller` as an operator meets it: one pass, exit codes, what is refused."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from starling.cli import starling
from tests.cluster.helpers import wrap
from tests.controller.folders import configure, replace, service, written


def once(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(starling, ["controller", "--source", str(folder), "--once", *arguments])


def test_one_pass(tmp_path: Path) -> None:
    configure(tmp_path, "192.0.2.0/28")
    replace(tmp_path / "web.yaml", service("web"))
    replace(tmp_path / "api.yaml", service("api", "{metallb.io/loadBalancerIPs: 192.0.2.7}"))
    result = once(tmp_path)
    assert (result.exit_code, result.output) == (0, "")
    assert written(tmp_path) == {"api": ["192.0.2.7"], "web": ["192.0.2.0"]}


def test_a_service_without_an_address_is_an_answer_of_no(tmp_path: Path) -> None:
    configure(tmp_path, "192.0.2.0/32")
    replace(tmp_path / "web.yaml", service("web"))
    replace(tmp_path / "api.yaml", service("api", "{metallb.io/address-pool: none}"))
    for _ in "twice":  # the second finds the statuses of the first
        result = once(tmp_path)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == 'starling controller: Failed to allocate IP for "default/api": unknown pool "none"\n'
    assert written(tmp_path) == {"api": [], "web": ["192.0.2.0"]}


def test_manifests_that_are_wrong(tmp_path: Path) -> None:
    replace(tmp_path / "config.yaml", wrap("address-pool: []\n"))
    result = once(tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"starling controller: {tmp_path}/config.yaml:6:5: 'address-pool' is no key of this mapping; "
        "did you mean address-pools?\n"
    )


def test_no_configuration(tmp_path: Path) -> None:
    replace(tmp_path / "web.yaml", service("web"))
    result = once(tmp_path)
    assert result.exit_code == 1
    assert "write the ConfigMap metallb-system/config" in result.stderr


def test_a_status_that_cannot_be_written(tmp_path: Path) -> None:
    configure(tmp_path, "192.0.2.0/28")
    replace(tmp_path / "web.yaml", service("web"))
    (tmp_path / "status" / "default.web.yaml").mkdir(parents=True)
    result = once(tmp_path)
    assert result.exit_code == 3
    assert "the status of default/web cannot be written: Is a directory; take the folder" in result.stderr


def test_a_class_of_load_balancers(tmp_path: Path) -> None:
    configure(tmp_path, "192.0.2.0/28")
    replace(tmp_path / "web.yaml", service("web", spec="loadBalancerClass: mine, ports: [{port: 80}]"))
    assert once(tmp_path).exit_code == 0
    assert written(tmp_path) == {}
    assert once(tmp_path, "--lb-class", "mine").exit_code == 0
    assert written(tmp_path) == {"web": ["192.0.2.0"]}


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    result = once(tmp_path / "absent")
    assert result.exit_code == 3
    assert result.stderr == f"starling controller: {tmp_path}/absent is no folder\n"


@pytest.mark.parametrize("arguments", [[], ["--source"], ["--source", "x", "--nonsense"], ["--source", __file__]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(starling, ["controller", *arguments]).exit_code == 2


def test_kubernetes_is_not_there_yet() -> None:
    result = CliRunner().invoke(starling, ["controller", "--source", "kube"])
    assert result.exit_code == 3
    assert "the source kube is not there yet; give a folder" in result.stderr
