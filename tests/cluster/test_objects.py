"""Objects of the API, field by field (metallb-interface.md §3): what is taken, and what is said about the rest."""

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from cluster.model import (
    Endpoint,
    EndpointSlice,
    ExternalTrafficPolicy,
    IPFamily,
    IPFamilyPolicy,
    Namespace,
    Node,
    ObjectName,
    Service,
    ServicePort,
    ServiceType,
    Transport,
)
from tests.cluster.helpers import read, said

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n  type: LoadBalancer\n  ports: [{port: 80}]\n"
SLICE = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: e}\naddressType: IPv4\n"
NODE = "apiVersion: v1\nkind: Node\nmetadata: {name: n}\nstatus:\n"


def service(text: str) -> Service:
    reading = read(text)
    assert reading.problems == ()
    (only,) = reading.snapshot.services
    return only


def annotated(**annotations: str) -> Service:
    inside = ", ".join(f"{key.replace('__', '/')}: '{value}'" for key, value in annotations.items())
    keyed = inside.replace("new/", "metallb.io/").replace("old/", "metallb.universe.tf/")
    return service(SERVICE.replace("{name: s}", f"{{name: s, annotations: {{{keyed}}}}}"))


# ---- services


def test_a_service_with_everything() -> None:
    assert service(
        """
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  uid: 0c2f
  labels: {b: "2", a: "1"}
  annotations:
    metallb.io/loadBalancerIPs: 192.0.2.1, 2001:db8::1
    metallb.universe.tf/allow-shared-ip: key
    metallb.universe.tf/address-pool: old
    metallb.io/address-pool: new
    metallb.io/ip-allocated-from-pool: there
spec:
  type: LoadBalancer
  allocateLoadBalancerNodePorts: true
  selector: {app: web}
  clusterIP: 10.0.0.1
  clusterIPs: [10.0.0.1, "fd00::1"]
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  externalTrafficPolicy: Local
  loadBalancerClass: example.com/class
  ports:
  - {name: https, port: 443, targetPort: web, nodePort: 30443}
  - {name: dns, protocol: UDP, port: 53}
  - {name: x, protocol: SCTP, port: 53}
status:
  loadBalancer:
    ingress: [{ip: 192.0.2.1, ipMode: VIP}, {hostname: a.example}, {ip: "2001:db8::1"}]
"""
    ) == Service(
        name=ObjectName("shop", "web"),
        type=ServiceType.LOAD_BALANCER,
        labels=(("a", "1"), ("b", "2")),
        ports=(
            ServicePort(transport=Transport.TCP, port=443, name="https"),
            ServicePort(transport=Transport.UDP, port=53, name="dns"),
            ServicePort(transport=Transport.SCTP, port=53, name="x"),
        ),
        selector=(("app", "web"),),
        cluster_ips=(IPv4Address("10.0.0.1"), IPv6Address("fd00::1")),
        ip_families=(IPFamily.IPV4, IPFamily.IPV6),
        ip_family_policy=IPFamilyPolicy.REQUIRE_DUAL_STACK,
        external_traffic_policy=ExternalTrafficPolicy.LOCAL,
        load_balancer_class="example.com/class",
        requested_addresses=(IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")),
        address_pool="new",
        sharing_key="key",
        allocated_from_pool="there",
        ingress=(IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")),
        deprecated_annotations=("metallb.universe.tf/address-pool", "metallb.universe.tf/allow-shared-ip"),
    )


def test_a_service_with_nothing() -> None:
    assert service("apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {type: ~, ports: ~}") == Service(
        name=ObjectName("default", "s"), type=ServiceType.CLUSTER_IP
    )


@pytest.mark.parametrize("text", ["None", "''", "~"])
def test_a_service_without_a_cluster_ip(text: str) -> None:
    assert service(f"{SERVICE}  clusterIP: {text}\n").cluster_ips == ()
    assert service(f"{SERVICE}  clusterIPs: [{text.replace('~', '')}]\n").cluster_ips == ()


def test_cluster_ip_counts_where_there_is_no_list() -> None:
    assert service(f"{SERVICE}  clusterIP: 10.0.0.1\n").cluster_ips == (IPv4Address("10.0.0.1"),)


@pytest.mark.parametrize("key", ["address-pool", "allow-shared-ip", "loadBalancerIPs"])
def test_annotations_in_both_prefixes(key: str) -> None:
    def of(got: Service) -> Any:
        fields = {"address-pool": got.address_pool, "allow-shared-ip": got.sharing_key}
        return fields.get(key, ",".join(map(str, got.requested_addresses)) or None)

    old = f"metallb.universe.tf/{key}"
    assert of(annotated(**{f"new__{key}": "192.0.2.1"})) == "192.0.2.1"
    assert of(annotated(**{f"old__{key}": "192.0.2.1"})) == "192.0.2.1"
    assert of(annotated(**{f"new__{key}": "192.0.2.1", f"old__{key}": "192.0.2.2"})) == "192.0.2.1"
    assert of(annotated(**{f"new__{key}": "", f"old__{key}": "192.0.2.2"})) == "192.0.2.2"
    assert of(annotated(**{f"new__{key}": ""})) is None
    assert annotated(**{f"new__{key}": "192.0.2.1"}).deprecated_annotations == ()
    assert annotated(**{f"old__{key}": "192.0.2.1"}).deprecated_annotations == (old,)


def test_the_note_of_the_controller_has_the_new_prefix_only() -> None:
    assert annotated(**{"new__ip-allocated-from-pool": "p"}).allocated_from_pool == "p"
    assert annotated(**{"old__ip-allocated-from-pool": "p"}).allocated_from_pool is None


def test_load_balancer_ip() -> None:
    assert service(f"{SERVICE}  loadBalancerIP: 192.0.2.9\n").requested_addresses == (IPv4Address("192.0.2.9"),)
    assert service(f"{SERVICE}  loadBalancerIP: ''\n").requested_addresses == ()


WITH_IPS = SERVICE.replace("{name: s}", "{name: s, annotations: {metallb.io/loadBalancerIPs: IPS}}")
AT_IPS = "3:63: metadata.annotations['metallb.io/loadBalancerIPs']: "
ONE_EACH = "write one, or one of each family"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            "apiVersion: v1\nkind: Service\nspec: {}",
            ["1:1: metadata is missing; add `metadata: …`"],
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {}",
            ["1:1: spec is missing; add `spec: …`", "3:11: metadata: name is missing; add `name: hostnames`"],
        ),
        (
            SERVICE.replace("name: s", "name: S_1"),
            [
                (
                    "3:18: metadata.name: 'S_1' is not a name that Kubernetes takes; "
                    "write up to 253 small letters, digits, dashes and dots"
                )
            ],
        ),
        (
            SERVICE.replace("name: s", "name: 5"),
            ["3:18: metadata.name: '5' is read as the number 5, not as text; quote it: \"5\""],
        ),
        (
            SERVICE.replace("LoadBalancer", "loadBalancer"),
            [
                (
                    "5:9: spec.type: 'loadBalancer' is not a value of this field; "
                    "write ClusterIP, NodePort, LoadBalancer or ExternalName"
                )
            ],
        ),
        (
            SERVICE.replace("80", "0"),
            ["6:18: spec.ports[0].port: '0' is out of range; write a whole number from 1 to 65535"],
        ),
        (
            SERVICE.replace("80", "'80'"),
            ["6:18: spec.ports[0].port: '80' is text, not a whole number; write 80 without quotes"],
        ),
        (
            SERVICE.replace("{port: 80}", "{name: x}"),
            ["6:11: spec.ports[0]: port is missing; add `port: 80`"],
        ),
        (
            SERVICE.replace("80", "80, protocol: tcp"),
            ["6:32: spec.ports[0].protocol: 'tcp' is not a value of this field; write TCP, UDP or SCTP"],
        ),
        (
            SERVICE.replace("{port: 80}", "{port: 80}, {port: 80, protocol: UDP}, {port: 80, protocol: TCP}"),
            ["6:50: spec.ports[2]: TCP 80 is port 0 of the list too; take one of the two out"],
        ),
        (
            SERVICE.replace("[{port: 80}]", "[]"),
            ["5:3: spec: a service of type LoadBalancer has no ports; add `ports: [{port: 80}]`"],
        ),
        (
            SERVICE.replace("[{port: 80}]", "80"),
            ["6:10: spec.ports: '80' is read as the number 80, not as a list; begin each entry with a dash"],
        ),
        (
            f"{SERVICE}  selector: {{app: on}}",
            ["7:19: spec.selector.app: 'on' is read as true, not as text; quote it: \"on\""],
        ),
        (
            f"{SERVICE}  selector: [app]",
            ["7:13: spec.selector: is a list, not a mapping; write `key: value`, one a line"],
        ),
        (
            f"{SERVICE}  externalTrafficPolicy: local",
            ["7:26: spec.externalTrafficPolicy: 'local' is not a value of this field; write Cluster or Local"],
        ),
        (
            f"{SERVICE}  ipFamilies: [ipv4]\n  ipFamilyPolicy: Dual",
            [
                "7:16: spec.ipFamilies[0]: 'ipv4' is not a value of this field; write IPv4 or IPv6",
                (
                    "8:19: spec.ipFamilyPolicy: 'Dual' is not a value of this field; "
                    "write SingleStack, PreferDualStack or RequireDualStack"
                ),
            ],
        ),
        (
            f"{SERVICE}  loadBalancerIP: x\n  clusterIP: y\n  loadBalancerClass: 1",
            [
                "7:19: spec.loadBalancerIP: 'x' is not an IP address; write one such as 192.0.2.1 or 2001:db8::1",
                "8:14: spec.clusterIP: 'y' is not an IP address; write one such as 192.0.2.1 or 2001:db8::1",
                "9:22: spec.loadBalancerClass: '1' is read as the number 1, not as text; quote it: \"1\"",
            ],
        ),
        (
            f"{SERVICE}status: {{loadBalancer: {{ingress: [{{ip: z}}]}}}}",
            [
                (
                    "7:40: status.loadBalancer.ingress[0].ip: 'z' is not an IP address; "
                    "write one such as 192.0.2.1 or 2001:db8::1"
                )
            ],
        ),
        (
            WITH_IPS.replace("IPS", "x"),
            [f"{AT_IPS}'x' is not an IP address; write one such as 192.0.2.1 or 2001:db8::1"],
        ),
        (
            WITH_IPS.replace("IPS", "'192.0.2.1,192.0.2.2'"),
            [f"{AT_IPS}'192.0.2.1,192.0.2.2' has two addresses of one family; {ONE_EACH}"],
        ),
        (
            WITH_IPS.replace("IPS", "'192.0.2.1,::1,::2'"),
            [f"{AT_IPS}'192.0.2.1,::1,::2' has 3 addresses; {ONE_EACH}"],
        ),
        (
            WITH_IPS.replace("IPS", "192.0.2.1") + "  loadBalancerIP: 192.0.2.1",
            [f"{AT_IPS}asks for addresses, and spec.loadBalancerIP does too; take one of the two out"],
        ),
        (
            SERVICE.replace("{name: s}", "{name: s, annotations: {other: 1}}"),
            ["3:42: metadata.annotations.other: '1' is read as the number 1, not as text; quote it: \"1\""],
        ),
    ],
)
def test_what_is_wrong_with_a_service(text: str, problems: list[str]) -> None:
    assert said(text) == problems
    assert read(text).snapshot.services == ()


# ---- endpoints


def test_endpoint_slices() -> None:
    reading = read(
        SLICE.replace("{name: e}", "{name: e, namespace: shop, labels: {kubernetes.io/service-name: web}}")
        + "ports: [{port: 80}]\nendpoints:\n"
        "- addresses: [10.0.0.1]\n  nodeName: n\n  conditions: {ready: true, serving: true, terminating: false}\n"
        "- addresses: [10.0.0.2]\n  conditions: {ready: ~}\n"
    )
    assert reading.problems == ()
    assert reading.snapshot.endpoint_slices == (
        EndpointSlice(
            name=ObjectName("shop", "e"),
            service=ObjectName("shop", "web"),
            endpoints=(
                Endpoint(addresses=(IPv4Address("10.0.0.1"),), node_name="n", ready=True, serving=True),
                Endpoint(addresses=(IPv4Address("10.0.0.2"),)),
            ),
        ),
    )


def test_a_slice_of_no_service_and_one_of_names() -> None:
    names = SLICE.replace("IPv4", "FQDN").replace("name: e", "name: f") + "endpoints: [{addresses: [a.example]}]\n"
    reading = read(SLICE, names)
    assert reading.problems == ()
    assert [(entry.service, entry.endpoints) for entry in reading.snapshot.endpoint_slices] == [(None, ()), (None, ())]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            SLICE.replace("addressType: IPv4\n", ""),
            ["1:1: addressType is missing; add `addressType: IPv4`"],
        ),
        (
            SLICE.replace("IPv4", "ipv4"),
            ["4:14: addressType: 'ipv4' is not a value of this field; write IPv4, IPv6 or FQDN"],
        ),
        (
            f"{SLICE}endpoints: [{{nodeName: n}}]",
            ["5:13: endpoints[0]: addresses is missing; add `addresses: [192.0.2.1]`"],
        ),
        (
            f"{SLICE}endpoints: [{{addresses: [x, '::1']}}]",
            [
                "5:26: endpoints[0].addresses[0]: 'x' is not an IP address; write one such as 192.0.2.1 or 2001:db8::1",
                "5:29: endpoints[0].addresses[1]: '::1' is not an IPv4 address; put it into a slice of its own family",
            ],
        ),
        (
            f"{SLICE}endpoints: [{{addresses: [], conditions: {{ready: 'true'}}}}]",
            ["5:49: endpoints[0].conditions.ready: 'true' is text, not true or false; write true without quotes"],
        ),
    ],
)
def test_what_is_wrong_with_a_slice(text: str, problems: list[str]) -> None:
    assert said(text) == problems
    assert read(text).snapshot.endpoint_slices == ()


# ---- nodes and namespaces


def test_nodes() -> None:
    exclude = "node.kubernetes.io/exclude-from-external-load-balancers"
    reading = read(
        NODE.replace("{name: n}", f"{{name: n, labels: {{{exclude}: '', a: b}}}}")
        + "  addresses:\n  - {type: Hostname, address: n}\n  - {type: InternalIP, address: 192.0.2.1}\n"
        "  - {type: InternalIP, address: '2001:db8::1'}\n  - {type: ExternalIP, address: 198.51.100.1}\n"
    )
    assert reading.problems == ()
    assert reading.snapshot.nodes == (
        Node(
            name="n",
            labels=(("a", "b"), (exclude, "")),
            internal_addresses=(IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")),
            exclude_from_external_load_balancers=True,
        ),
    )


@pytest.mark.parametrize(("status", "expected"), [("True", True), ("False", False), ("Unknown", False)])
def test_network_unavailable(status: str, expected: bool) -> None:
    text = f"{NODE}  conditions: [{{type: Ready, status: 'False'}}, {{type: NetworkUnavailable, status: '{status}'}}]"
    (node,) = read(text).snapshot.nodes
    assert node.network_unavailable is expected


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (
            f"{NODE}  conditions: [{{type: NetworkUnavailable, status: True}}]",
            ["5:51: status.conditions[0].status: 'True' is read as true, not as text; quote it: \"True\""],
        ),
        (
            f"{NODE}  conditions: [{{type: NetworkUnavailable, status: yes it is}}]",
            [
                (
                    "5:51: status.conditions[0].status: 'yes it is' is not a value of this field; "
                    "write True, False or Unknown"
                )
            ],
        ),
        (
            f"{NODE}  addresses: [{{type: InternalIP, address: n}}, {{address: x}}]",
            ["5:47: status.addresses[1]: type is missing; add `type: InternalIP`"],
        ),
        (
            f"{NODE}  addresses: [{{type: InternalIP, address: n}}]",
            [
                (
                    "5:43: status.addresses[0].address: 'n' is not an IP address; "
                    "write one such as 192.0.2.1 or 2001:db8::1"
                )
            ],
        ),
    ],
)
def test_what_is_wrong_with_a_node(text: str, problems: list[str]) -> None:
    assert said(text) == problems
    assert read(text).snapshot.nodes == ()


def test_namespaces() -> None:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n"
    assert read(text).snapshot.namespaces == (Namespace(name="shop", labels=(("team", "a"),)),)
    assert said(text.replace("{team: a}", "a")) == [
        "3:32: metadata.labels: 'a' is text, not a mapping; write `key: value`, one a line"
    ]
