"""The fuzzer as a command: ``python -m tests.fuzz --seconds 60``. Exit code 1 says that it found something."""

import argparse
import sys

from tests.fuzz.harness import Find, fuzz
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=10.0, help="for all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", help="this one alone", choices=[target.name for target in TARGETS])
    parser.add_argument("--replay", metavar="HEX", help="this input alone")
    parser.add_argument("--json", action="store_true", help="a summary for programs, as the last line")
    options = parser.parse_args()
    targets = [target for target in TARGETS if options.target in (None, target.name)]
    if options.replay is not None:
        for target in targets:
            target.attack(bytes.fromhex(options.replay))
        return 0
    try:
        report = fuzz(targets, options.seconds, options.seed)
    except Find as find:
        sys.stderr.write(f"{find.target}: {find}\n")
        return 1
    sys.stdout.write("\n".join(report.lines()) + "\n")
    if options.json:
        sys.stdout.write(report.summary() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
