"""The pages made from the code. `python -m tests.generated` writes them; a test holds that they are up to date.

A generator is a module with a function `render() -> str`, the whole page. The same tree gives the same page.
"""

import importlib

from tests.tree import ROOT

# Page, from the root of the tree -> the module that renders it.
PAGES: dict[str, str] = {
    "docs/conformance.md": "tests.conformance.generate",
    "docs/reference/commands.md": "tests.starling.generate_commands",
    "docs/reference/profiles.md": "tests.gossip.generate_profiles",
    "docs/reference/reasons.md": "tests.speaker.generate_reasons",
}


def render(page: str) -> str:
    """The page as the code now says it."""
    text = importlib.import_module(PAGES[page]).render()
    assert isinstance(text, str)
    return text


def main() -> None:
    """Write every page whose text has changed and name it."""
    for page in PAGES:
        path, text = ROOT / page, render(page)
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {page}")


if __name__ == "__main__":
    main()
