"""Checks that a tag can be released, and writes its release notes.

    python tools/release_notes.py v0.1.0 --output build/release_notes.md

A tag is `v` and the version of the package, which CITATION.cff has too. CHANGELOG.md must have the
day of its release, and `docs/reference/releases/` its notes. It needs Python alone.
"""

import argparse
import datetime
import os
import pathlib
import re
import sys

REPOSITORY = "https://github.com/tf-stn/tf-stn"
ROOT = pathlib.Path(__file__).resolve().parent.parent


def _found(pattern: str, path: str) -> str:
    match = re.search(pattern, (ROOT / path).read_text(), re.MULTILINE)
    return match[1] if match else "none"


def problems(tag: str) -> list[str]:
    """Returns what is in the way of a release, in words."""
    version = tag.removeprefix("v")
    found = []
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        found.append(f"a tag must be like v1.2.3, received {tag!r}")
    versions = {
        "tf_stn/__init__.py": _found(r'^__version__ = "(.*)"$', "tf_stn/__init__.py"),
        "CITATION.cff": _found(r"^version: (.*)$", "CITATION.cff"),
    }
    for path, its in versions.items():
        if its != version:
            found.append(f"{path} has version {its}")
    day = _found(rf"^## {re.escape(version)} \((.*)\)$", "CHANGELOG.md")
    try:
        datetime.date.fromisoformat(day)
    except ValueError:
        found.append(f"CHANGELOG.md must have the line '## {version} (YYYY-MM-DD)', has {day}")
    if not notes_of(version).exists():
        found.append(f"{notes_of(version).relative_to(ROOT)} is missing")
    return found


def notes_of(version: str) -> pathlib.Path:
    """Returns the path of the release notes of a version."""
    return ROOT / f"docs/reference/releases/{version}.md"


def release_notes(tag: str) -> str:
    """Returns the notes of a tag, whose links lead to files of the repository at that tag."""
    page = notes_of(tag.removeprefix("v"))

    def absolute(match: re.Match) -> str:
        path = os.path.relpath(page.parent / match[1], ROOT)
        return f"]({REPOSITORY}/blob/{tag}/{path}"

    return re.sub(r"\]\((?!https?:|#)([^)#]+)", absolute, page.read_text())


def main(arguments: list[str] | None = None) -> None:
    """Writes the notes, or exits with what is in the way."""
    parser = argparse.ArgumentParser(description="Checks a tag and writes its release notes.")
    parser.add_argument("tag", help="such as v0.1.0")
    parser.add_argument("--output", type=pathlib.Path, help="file to write; default: none")
    options = parser.parse_args(arguments)
    found = problems(options.tag)
    if found:
        sys.exit(
            "\n".join([f"{options.tag} cannot be released:", *(f"- {each}" for each in found)])
        )
    if options.output:
        options.output.write_text(release_notes(options.tag))


if __name__ == "__main__":
    main()
