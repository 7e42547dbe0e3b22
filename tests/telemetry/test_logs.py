"""Log lines: what stands in one, and that nobody waits for one."""

import json
import os
import threading
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.levels import Level
from telemetry.logs import MAX_WAITING, LineWriter, Log, render_line

DEADLINE = 20
"""Seconds."""


class Lines:
    """Takes lines, for as long as there is room."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.has_room = True

    def send(self, line: str) -> bool:
        if self.has_room:
            self.taken.append(json.loads(line))
        return self.has_room


def test_a_line() -> None:
    line = render_line(1_700_000_000.25, Level.INFO, "ipAllocated", {"service": "default/web", "ip": ["192.0.2.1"]})
    assert line == (
        '{"ts": "2023-11-14T22:13:20.250Z", "level": "info", "event": "ipAllocated", '
        '"service": "default/web", "ip": ["192.0.2.1"]}'
    )


def test_what_is_none_is_left_out_and_what_is_no_json_is_text() -> None:
    fields = {"pool": None, "ip": IPv4Address("192.0.2.1"), "wait": float("inf"), "level": "mine", "ts": 0}
    line = json.loads(render_line(0.0, Level.WARN, "e", fields))
    assert line == {"ts": "1970-01-01T00:00:00.000Z", "level": "warn", "event": "e", "ip": "192.0.2.1", "wait": "inf"}


@given(st.text(), st.dictionaries(st.text(), st.text() | st.floats() | st.integers() | st.lists(st.text())))
def test_a_line_is_one_line_of_ascii_and_json(event: str, fields: dict[str, object]) -> None:
    line = render_line(1.0, Level.INFO, event, fields)
    assert line.isascii()
    assert line.isprintable()

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    assert json.loads(line, parse_constant=refuse)["event"] == event


@pytest.mark.parametrize("level", Level)
def test_lines_below_the_level_are_not_made(level: Level) -> None:
    lines = Lines()
    log = Log(lines.send, lambda: 5.0, level)
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert [line["level"] for line in lines.taken] == [str(each) for each in list(Level)[list(Level).index(level) :]]


def test_a_line_bears_the_time_of_the_clock_unless_it_is_given_another() -> None:
    lines = Lines()
    log = Log(lines.send, lambda: 5.0)
    log.info("now")
    log.write(Level.INFO, "then", 0.0, at="a field")
    assert [(line["ts"][17:], line.get("at")) for line in lines.taken] == [("05.000Z", None), ("00.000Z", "a field")]


def test_lines_that_find_no_room_are_counted_and_that_is_said() -> None:
    lines = Lines()
    log = Log(lines.send, lambda: 5.0)
    lines.has_room = False
    log.info("a")
    log.info("b")
    lines.has_room = True
    log.info("c")
    log.info("d")
    assert [(line["event"], line.get("count")) for line in lines.taken] == [("linesLost", 2), ("c", None), ("d", None)]


# ---- the writer


def read_all(descriptor: int) -> list[str]:
    with open(descriptor, "rb") as file:
        return file.read().decode().splitlines()


def test_lines_come_out_in_order_and_whole() -> None:
    reading, writing = os.pipe()
    writer = LineWriter(writing)
    lines = [f"{number} {'x' * (number % 200)}" for number in range(2000)]
    result: list[str] = []
    reader = threading.Thread(target=lambda: result.extend(read_all(reading)))
    reader.start()
    assert all(writer.send(line) for line in lines)
    writer.close(DEADLINE)
    os.close(writing)
    reader.join(DEADLINE)
    assert result == lines


def test_a_pipe_that_nobody_reads_costs_lines_and_no_time() -> None:
    reading, writing = os.pipe()
    writer = LineWriter(writing)
    line = "x" * 1000
    taken = sum(writer.send(line) for _ in range(3 * MAX_WAITING // len(line)))  # a writer that waits never ends
    assert MAX_WAITING // len(line) <= taken < 2 * MAX_WAITING // len(line)
    writer.close(0.0)
    result: list[str] = []
    reader = threading.Thread(target=lambda: result.extend(read_all(reading)))
    reader.start()
    writer.close(DEADLINE)
    os.close(writing)
    reader.join(DEADLINE)
    assert result == [line] * taken


def test_a_descriptor_that_does_not_block_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    writer = LineWriter(writing)
    lines = ["x" * 1000] * 1000
    result: list[str] = []
    reader = threading.Thread(target=lambda: result.extend(read_all(reading)))
    reader.start()
    assert all(writer.send(line) for line in lines)
    writer.close(DEADLINE)
    os.close(writing)
    reader.join(DEADLINE)
    assert result == lines


def test_when_nobody_reads_any_more_lines_are_refused() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    writer = LineWriter(writing)
    writer.send("into the void")
    writer.close(DEADLINE)
    assert not writer.send("another")
    os.close(writing)


def test_a_writer_with_nothing_to_write_ends_at_once() -> None:
    reading, writing = os.pipe()
    writer = LineWriter(writing)
    writer.close(DEADLINE)
    os.close(writing)
    assert read_all(reading) == []
