"""`python -m gossip` is the command `starling ring`."""

from gossip.cli import ring

if __name__ == "__main__":
    ring(prog_name="python -m gossip")
