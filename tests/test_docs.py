"""README and pages name nothing that isn't there."""

import re
from pathlib import Path

import pytest
import srsly
from running import ROOT

PROJECT = srsly.read_yaml(ROOT / "project.yml")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_vars_and_links_exist(page: Path):
    text = page.read_text(encoding="utf-8")
    commands = {command["name"] for command in PROJECT["commands"]} | set(PROJECT["workflows"])
    assert set(re.findall(r"weasel run ([a-z][a-z0-9-]*)", text)) <= commands
    assert set(re.findall(r"(?:--|`)vars\.(\w+)", text)) <= set(PROJECT["vars"])
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in link and not link.startswith(("training/", "corpus/")):
            assert (page.parent / link).exists(), link


def test_every_page_is_in_the_readme():
    text = PAGES[0].read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in text] == []
