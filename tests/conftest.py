"""What every test shares: capabilities of the machine, `--fast`, `--require` and the hypothesis profiles.

A test that uses something a machine may lack says so with `@pytest.mark.needs("serf")`. Where it is missing the test is
skipped with the reason, the skips are counted by capability at the end of the run, and `--require` makes them failures.
"""

import functools
import os
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

GO_PEERS = ("memberlist-peer-0.5.1", "memberlist-peer-0.7.0")
NETNS_TOOLS = ("ip", "nft", "unshare")

# A loaded machine makes a slow example, not a wrong one: deadlines and the "too slow" check are off in both profiles.
settings.register_profile(
    "gate", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "hunt", max_examples=5_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gate")  # --hypothesis-profile=hunt replaces it


def _missing_serf() -> str | None:
    return None if shutil.which("serf") else "no `serf` command"


def _missing_go_peers() -> str | None:
    folder = os.environ.get("STARLING_PEERS")
    if not folder:
        return "STARLING_PEERS is not set; ./run test builds the peers where Go is installed"
    absent = [name for name in GO_PEERS if not os.access(Path(folder) / name, os.X_OK)]
    return f"not in {folder}: {', '.join(absent)}" if absent else None


def _missing_netns() -> str | None:
    absent = [tool for tool in NETNS_TOOLS if not shutil.which(tool)]
    if absent:
        return f"no command {', '.join(absent)}"
    if os.geteuid() != 0:
        return "only root makes named network namespaces"
    tried = subprocess.run(["unshare", "--net", "ip", "link", "show", "lo"], capture_output=True, check=False)
    return "this machine does not allow network namespaces" if tried.returncode else None


def _missing_ipv6() -> str | None:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError as exc:
        return f"no IPv6 on loopback: {exc}"
    return None


def _missing_other_python() -> str | None:
    python = os.environ.get("STARLING_OTHER_PYTHON")
    if not python:
        return "STARLING_OTHER_PYTHON is not set; ./run test makes one where Python 3.13 is installed"
    tried = subprocess.run([python, "-c", "import msgpack, cryptography"], capture_output=True, check=False)
    return f"{python} lacks the packages of requirements.lock" if tried.returncode else None


# Capability -> what is missing, or None. Asked once a run, and only for what a selected test needs.
CAPABILITIES: dict[str, Callable[[], str | None]] = {
    "serf": functools.cache(_missing_serf),
    "go-peers": functools.cache(_missing_go_peers),
    "netns": functools.cache(_missing_netns),
    "ipv6": functools.cache(_missing_ipv6),
    "other-python": functools.cache(_missing_other_python),
}
NOT_FAST = frozenset({"serf", "go-peers", "netns"})

SKIPPED = pytest.StashKey[Counter[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("starling")
    group.addoption("--fast", action="store_true", help="leave out slow tests and those that need real peers")
    group.addoption("--require", action="store_true", help="a missing capability is a failure, not a skip")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SKIPPED] = Counter()


def _needs(item: pytest.Item) -> list[str]:
    return [str(name) for mark in item.iter_markers("needs") for name in mark.args]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for name in _needs(item):
            if name not in CAPABILITIES:
                raise pytest.UsageError(f"{item.nodeid} needs {name!r}; known: {', '.join(CAPABILITIES)}")
    if not config.getoption("--fast"):
        return
    left_out = [item for item in items if item.get_closest_marker("slow") or NOT_FAST.intersection(_needs(item))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in _needs(item):
        missing = CAPABILITIES[name]()
        if missing is None:
            continue
        if item.config.getoption("--require"):
            pytest.fail(f"needs {name}: {missing}", pytrace=False)
        item.config.stash[SKIPPED][name] += 1
        pytest.skip(f"needs {name}: {missing}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if skipped := config.stash[SKIPPED]:
        counts = ", ".join(f"{name} {count}" for name, count in sorted(skipped.items()))
        terminalreporter.write_line(f"skipped for missing capability: {counts}")
