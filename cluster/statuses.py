"""Statuses of services as text that a person can read, what such a text says, and what they add to a snapshot.

Rules kept here:

* One text for one status: the same status gives the same bytes.
* A text is read as any manifest is: whatever the bytes, a status or problems with their places. It ends with YAML's
  mark for the end, so that half of it is not taken for the whole.
* A service has what its status says; one without a status keeps what its manifest says.

Source: design.md §8; the shape is that of a Service's `status` (docs/specs/metallb-interface.md §3.7).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import yaml

from cluster.errors import Place, Problem
from cluster.model import ServiceStatus
from cluster.object_shapes import LoadBalancerStatusShape, MetadataShape
from cluster.shapes import ObjectShape, Reader
from cluster.yaml_text import Origin, decode_text, read_documents

if TYPE_CHECKING:
    from cluster.model import ObjectName, Service

API_VERSION: Final = "starling.io/v1"
KIND: Final = "ServiceStatus"
SUFFIX: Final = ".yaml"
MAX_STATUS_BYTES: Final = 64 * 1024
"""Of one text; the longest message is far shorter."""
MAX_FILE_NAME: Final = 200
"""Bytes of the name of a status's file, so that the name of a temporary one has room too."""
END: Final = "...\n"
HEADER: Final = "# Written by `starling controller`, which writes it anew when it is changed.\n"
REPLACED: Final = "the controller replaces it at its next write; or take the file out"


class ReportShape(ObjectShape):
    """What became of a service."""

    load_balancer: LoadBalancerStatusShape = LoadBalancerStatusShape()
    pool: str | None = None
    reason: str | None = None
    message: str | None = None


class StatusShape(ObjectShape):
    """A status by itself, with the name of its service."""

    metadata: MetadataShape
    status: ReportShape = ReportShape()


def file_name(service: ObjectName) -> str:
    """The name of the file of a service's status: `NAMESPACE.NAME.yaml`, and no two services have the same."""
    namespace = service.namespace.replace(".", "%2E")  # so that the first dot ends it
    name = f"{namespace}.{service.name}{SUFFIX}"
    if len(name) <= MAX_FILE_NAME:
        return name
    return f"{hashlib.sha256(name.encode()).hexdigest()}{SUFFIX}"


def render_status(status: ServiceStatus) -> str:
    """The text of a status."""
    balancer = {"ingress": [{"ip": str(address)} for address in status.ingress]} if status.ingress else {}
    optional = {"pool": status.pool, "reason": status.reason, "message": status.message}
    document: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"namespace": status.service.namespace, "name": status.service.name},
        "status": {"loadBalancer": balancer, **{key: str(text) for key, text in optional.items() if text is not None}},
    }
    return HEADER + yaml.dump(
        document, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=120, explicit_end=True
    )


def read_status(file: str, data: bytes) -> tuple[ServiceStatus | None, list[Problem]]:
    """The status that a text holds, or None and what is wrong with it. Raises nothing."""
    start = Place(file, 1, 1)
    if len(data) > MAX_STATUS_BYTES:
        return None, [Problem(start, f"has more than {MAX_STATUS_BYTES} bytes", REPLACED)]
    text = decode_text(data, file)
    if isinstance(text, Problem):
        return None, [text]
    documents, problems = read_documents(text, Origin(file))
    if not problems and len(documents) != 1:
        problems.append(Problem(start, f"holds {len(documents)} objects, not one", REPLACED))
    if not problems and not text.endswith(END):
        last_line = Place(file, text.count("\n") + 1, 1)
        problems.append(Problem(last_line, f"ends before the line {END.strip()}", REPLACED))
    if problems:
        return None, problems
    reader = Reader(documents[0], problems)
    header = reader.text(("apiVersion",)), reader.text(("kind",))
    if header != (API_VERSION, KIND):
        reader.refuse((), f"is not a {KIND} of {API_VERSION}", REPLACED)
        return None, problems
    shape = reader.read(StatusShape)
    if shape is None:
        return None, problems
    report = shape.status
    status = ServiceStatus(
        service=shape.metadata.full_name(),
        ingress=tuple(entry.ip for entry in report.load_balancer.ingress if entry.ip is not None),
        pool=report.pool,
        reason=report.reason,
        message=report.message,
    )
    return status, problems


def is_empty(status: ServiceStatus) -> bool:
    """Whether it says nothing, so that it need not be written."""
    return status == ServiceStatus(service=status.service)


def with_status(service: Service, status: ServiceStatus) -> Service:
    """The service with what its status says; the same object where that changes nothing."""
    if (status.ingress, status.pool) == (service.ingress, service.allocated_from_pool):
        return service
    return replace(service, ingress=status.ingress, allocated_from_pool=status.pool)
