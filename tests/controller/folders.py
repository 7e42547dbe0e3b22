"""Folders of manifests for controllers, and what stands in them afterwards."""

from pathlib import Path

from cluster.folder_statuses import StatusFolder
from tests.cluster.helpers import wrap


def configure(folder: Path, *ranges: str, name: str = "p") -> None:
    """Write a ConfigMap with one pool, as a file that is replaced whole."""
    listed = ", ".join(ranges)
    replace(
        folder / "config.yaml", wrap(f"address-pools:\n- name: {name}\n  protocol: layer2\n  addresses: [{listed}]\n")
    )


def replace(path: Path, text: str) -> None:
    """Write a file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}")
    beside.write_text(text)
    beside.replace(path)


def service(name: str, annotations: str = "{}", spec: str = "ports: [{port: 80}]") -> str:
    """A service of type LoadBalancer."""
    return (
        "apiVersion: v1\nkind: Service\n"
        f"metadata: {{name: {name}, annotations: {annotations}}}\nspec: {{type: LoadBalancer, {spec}}}\n"
    )


def written(folder: Path) -> dict[str, list[str]]:
    """The addresses that stand in the statuses, by service."""
    statuses = StatusFolder(str(folder / "status"))
    statuses.look()
    assert statuses.problems == ()
    return {name.name: [str(address) for address in entry.ingress] for name, entry in statuses.statuses.items()}
