"""What `--fast`, `--require` and a missing capability do to a run, seen as the person at the keyboard sees it."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.slow  # each is a run of its own

CASES = """
import pytest

@pytest.mark.needs("go-peers")
def test_with_peers(): pass

@pytest.mark.slow
def test_long(): pass

def test_short(): pass
"""


@pytest.fixture
def runner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with our conftest, a few cases and no Go peers."""
    monkeypatch.delenv("STARLING_PEERS", raising=False)
    pytester.makeconftest((Path(__file__).parent / "conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers =\n    slow: s\n    needs(capability): n\n")
    pytester.makepyfile(CASES)
    return pytester


def test_a_missing_capability_is_skipped_counted_and_explained(runner: pytest.Pytester) -> None:
    result = runner.runpytest_subprocess("-rs")
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(["*needs go-peers: STARLING_PEERS is not set*"])
    result.stdout.fnmatch_lines(["skipped for missing capability: go-peers 1"])


def test_require_makes_it_a_failure(runner: pytest.Pytester) -> None:
    result = runner.runpytest_subprocess("--require")
    result.assert_outcomes(passed=2, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_fast_leaves_out_what_is_slow_or_needs_peers(runner: pytest.Pytester) -> None:
    result = runner.runpytest_subprocess("--fast")
    result.assert_outcomes(passed=1, deselected=2)
    result.stdout.no_fnmatch_line("skipped for missing capability*")


def test_half_a_set_of_peers_is_a_missing_capability(
    runner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "memberlist-peer-0.5.1").touch(mode=0o755)
    monkeypatch.setenv("STARLING_PEERS", str(tmp_path))
    result = runner.runpytest_subprocess("-rs")
    result.stdout.fnmatch_lines(
        ["skipped for missing capability: go-peers 1", "*needs go-peers: not in *: memberlist-peer-0.7.0"]
    )


def test_an_unknown_capability_is_a_mistake_not_a_skip(runner: pytest.Pytester) -> None:
    runner.makepyfile('import pytest\n\n@pytest.mark.needs("frobnicator")\ndef test_x(): pass\n')
    result = runner.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*frobnicator*known: serf, go-peers, netns, ipv6*"])
