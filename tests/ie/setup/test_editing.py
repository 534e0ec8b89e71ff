"""project.yml and configs keep every byte around what is edited."""

from pathlib import Path

import pytest
from running import ROOT

from ie.core.errors import UserError
from ie.setup import project_file
from ie.setup.config_file import ConfigFile

CONFIGS = sorted((ROOT / "configs").rglob("*.cfg"))
CONFIG = """# First.

[nlp]
lang = "en"
# Below.
Pipeline = ["a"]

# Of the next section.
[nlp.more]
x = ${nlp.lang}
"""


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_config_without_edits_has_the_same_bytes(path: Path) -> None:
    assert str(ConfigFile(path)).encode() == path.read_bytes()


def test_settings_change_in_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    path.write_text(CONFIG, encoding="utf-8")
    config = ConfigFile(path)
    config.set("nlp", lang="de", Pipeline=["b", "ü"])
    assert str(config) == CONFIG.replace('"en"', '"de"').replace('["a"]', '["b", "ü"]')
    config.replace("nlp", ["lang", "absent"], {"language": "fr", "n": 1})
    assert '[nlp]\nlanguage = "fr"\nn = 1\n# Below.\n' in str(config)
    config.remove("nlp.more")
    config.remove("absent")
    assert str(config).endswith('Pipeline = ["b", "ü"]\n')


@pytest.mark.parametrize(
    ("content", "edit", "message"),
    [
        (CONFIG, {"nlp": "x"}, r"a\.cfg: \[nlp\] has no setting nlp; take the template's file"),
        ("lang = 1\n", {}, r"a\.cfg: can't be read as a config"),
        (None, {}, r"a\.cfg: there is no such file"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, content: str | None, edit: dict, message: str) -> None:
    if content is not None:
        (tmp_path / "a.cfg").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        ConfigFile(tmp_path / "a.cfg").set("nlp", **edit)


def edited(text: str, **changes: dict[str, str]) -> str:
    options = {"variables": {}, "assets": {}, "checksums": {}} | changes
    return project_file.edited(text, title="A title", description="Some\n\nlines", **options)


def test_the_project_file_keeps_comments_and_layout() -> None:
    before = (ROOT / "project.yml").read_text(encoding="utf-8")
    after = edited(before, variables={"name": 'de_"x"'}, assets={"assets/texts.jsonl": "Texts"})
    head = 'title: "A title"\ndescription: |\n  Some\n\n  lines\n\n# '
    assert after.startswith(head)
    start = before.index("\n\n# ") + len("\n\n# ")
    lines = list(zip(before[start:].splitlines(), after[len(head) :].splitlines(), strict=True))
    changes = [new.strip() for old, new in lines if old != new]
    assert changes == ['name: "de_\\"x\\""', 'description: "Texts"']


def test_a_checksum_is_replaced_and_never_added() -> None:
    text = (
        "title: x\ndescription: |\n  x\nvars:\n  a: 1\nassets:\n"
        '  - dest: "a.txt"\n    checksum: "1"\n  - dest: "b.txt"\n'
    )
    after = edited(text, checksums={"a.txt": "2", "b.txt": "3"})
    assert '    checksum: "2"\n  - dest: "b.txt"\n' in after
    assert "3" not in after


def test_an_unknown_variable_is_refused() -> None:
    with pytest.raises(UserError, match=r"project\.yml: has no variable nope"):
        edited((ROOT / "project.yml").read_text(encoding="utf-8"), variables={"nope": ""})


def test_outputs_are_patterns_over_variables() -> None:
    text = """
vars: {config: a, out: x/y}
commands:
  - {name: train, outputs: ["training/${vars.config}/model", "${vars.out}"], outputs_no_cache: [b.json]}
  - {name: import, outputs: [mine.jsonl]}
"""
    assert project_file.outputs(text) == ["training/*/model", "x/y", "b.json"]
