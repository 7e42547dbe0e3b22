"""Statuses as text: what stands in the file, and what is made of what stands there."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.model import ObjectName, Service, ServiceStatus, ServiceType
from cluster.statuses import (
    MAX_FILE_NAME,
    MAX_STATUS_BYTES,
    REPLACED,
    file_name,
    read_status,
    render_status,
    with_status,
)

WEB = ObjectName("default", "web")
TEXT = render_status(ServiceStatus(service=WEB, ingress=(IPv4Address("192.0.2.7"),), pool="edge"))

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=200)
STATUSES = st.builds(
    ServiceStatus,
    service=st.builds(ObjectName, NAMES, NAMES),
    ingress=st.lists(st.ip_addresses(), max_size=2).map(tuple),
    pool=st.none() | TEXTS,
    reason=st.none() | TEXTS,
    message=st.none() | TEXTS,
)


def said(data: bytes) -> list[str]:
    status, problems = read_status("s.yaml", data)
    assert (status is None) == bool(problems)
    return [str(problem) for problem in problems]


def test_a_service_that_has_an_address() -> None:
    assert TEXT == (
        "# Written by `starling controller`, which writes it anew when it is changed.\n"
        "apiVersion: starling.io/v1\n"
        "kind: ServiceStatus\n"
        "metadata:\n"
        "  namespace: default\n"
        "  name: web\n"
        "status:\n"
        "  loadBalancer:\n"
        "    ingress:\n"
        "    - ip: 192.0.2.7\n"
        "  pool: edge\n"
        "...\n"
    )


def test_a_service_that_has_none() -> None:
    status = ServiceStatus(
        service=WEB, reason="AllocationFailed", message='Failed to allocate IP for "default/web": no'
    )
    assert render_status(status).split("status:\n")[1] == (
        "  loadBalancer: {}\n  reason: AllocationFailed\n  message: 'Failed to allocate IP for \"default/web\": no'\n"
        "...\n"
    )


@given(STATUSES)
def test_what_is_written_is_read(status: ServiceStatus) -> None:
    assert read_status("s.yaml", render_status(status).encode()) == (status, [])


@pytest.mark.parametrize("text", ["no", "~", "1:30", "0x10", "2026-01-01", "", "é ", "a: b", "- a", "{x}", "\x85", "#"])
def test_text_that_yaml_would_read_as_something_else(text: str) -> None:
    status = ServiceStatus(service=WEB, pool=text, reason=text, message=text)
    assert read_status("s.yaml", render_status(status).encode()) == (status, [])


@given(
    st.binary(max_size=300) | st.builds(lambda at, byte: TEXT.encode()[:at] + byte, st.integers(0, 300), st.binary())
)
def test_any_bytes_are_a_status_or_problems(data: bytes) -> None:
    said(data)


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("  pool: edge\n", "")])
def test_no_beginning_of_a_file_is_taken_for_the_whole(text: str) -> None:
    data = text.encode()
    for size in range(len(data)):
        assert said(data[:size]), data[:size]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("192.0.2.7", "192.0.2"), "s.yaml:10:11: status.loadBalancer.ingress[0].ip: '192.0.2' is not an IP address"),
        (("pool: edge", "pool: 7"), "s.yaml:11:9: status.pool: '7' is read as the number 7, not as text"),
        (("kind: ServiceStatus", "kind: Service"), "s.yaml:2:1: is not a ServiceStatus of starling.io/v1"),
        (("name: web\n", "name: WEB\n"), "s.yaml:6:9: metadata.name: 'WEB' is not a name that Kubernetes takes"),
        (("status:\n", "status: [\n"), "s.yaml:9:12: is not YAML"),
        (("status:\n", "---\nstatus:\n"), "s.yaml:1:1: holds 2 objects, not one"),
        ((TEXT, ""), "s.yaml:1:1: holds 0 objects, not one"),
        ((TEXT, "\0"), "s.yaml:1:1: is a binary file"),
        (("...\n", ""), "s.yaml:12:1: ends before the line ..."),
    ],
)
def test_what_is_wrong_is_said_with_its_place(change: tuple[str, str], expected: str) -> None:
    (first, *_) = said(TEXT.replace(*change, 1).encode())
    assert first.startswith(expected)


def test_a_text_has_a_greatest_size() -> None:
    assert said(TEXT.encode() + b"#" * MAX_STATUS_BYTES) == [
        f"s.yaml:1:1: has more than {MAX_STATUS_BYTES} bytes; {REPLACED}"
    ]


# ---- names of files


@given(st.lists(st.builds(ObjectName, NAMES, NAMES), min_size=2, max_size=2, unique=True))
def test_no_two_services_share_a_file(services: list[ObjectName]) -> None:
    assert file_name(services[0]) != file_name(services[1])


@pytest.mark.parametrize(
    ("service", "name"),
    [
        (WEB, "default.web.yaml"),
        (ObjectName("a", "b.c"), "a.b.c.yaml"),
        (ObjectName("a.b", "c"), "a%2Eb.c.yaml"),
    ],
)
def test_the_name_of_a_file_is_that_of_the_service(service: ObjectName, name: str) -> None:
    assert file_name(service) == name


def test_a_name_that_is_too_long_for_a_file_is_replaced() -> None:
    long = ObjectName("default", "w" * 253)
    assert len(file_name(long)) <= MAX_FILE_NAME
    assert file_name(long) != file_name(ObjectName("default", "w" * 252))


# ---- what a service has


def test_a_service_has_what_its_status_says() -> None:
    service = Service(name=WEB, type=ServiceType.LOAD_BALANCER, ingress=(ip_address("192.0.2.1"),))
    status = ServiceStatus(service=WEB, ingress=(IPv6Address("2001:db8::1"),), pool="edge")
    assert with_status(service, status).ingress == status.ingress
    assert with_status(service, status).allocated_from_pool == "edge"
    assert with_status(service, ServiceStatus(service=WEB)).ingress == ()


def test_a_status_that_changes_nothing_leaves_the_service_the_same_object() -> None:
    service = Service(name=WEB, type=ServiceType.LOAD_BALANCER, ingress=(ip_address("192.0.2.1"),))
    assert with_status(service, ServiceStatus(service=WEB, ingress=service.ingress)) is service
