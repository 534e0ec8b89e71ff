"""docs/reference.md tells every var and every setting as their comments do, and is up to date."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import srsly
from running import ROOT, run_command

from ie.core.errors import UserError
from ie.setup import commented

spec = spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
reference = module_from_spec(spec)
spec.loader.exec_module(reference)

PROJECT = """title: toy
# One for a run: `weasel run all`.
vars:
  # Where <port> is, or a|b
  port: 80
  host: ""
  # Long
  text: "{text}"
commands: []
"""
OURS = """# What it does.

[limits]
# At most; `a|b`
texts = 3
words = "a|b"

# Of the rest
[rest]
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A project with a config of our own, one that is trained, and a provider."""
    (tmp_path / "project.yml").write_text(PROJECT.format(text="x" * 100))
    files = {
        "ours": OURS,
        "small": "# A small one.\n\n[training]\nsteps = 1",
        "providers/fake": "# A fake.\n[model]",
    }
    for name, text in files.items():
        path = tmp_path / "configs" / f"{name}.cfg"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def render(folder: Path) -> str:
    return reference.render(folder / "project.yml", folder / "configs")


class TestPage:
    def test_vars_of_a_comment_share_a_row(self, toy: Path) -> None:
        page = render(toy)
        assert "\nOne for a run: `weasel run all`.\n" in page
        assert r"| `port`<br>`host` | `80`<br>(empty) | Where `<port>` is, or `a\|b` |" in page

    def test_long_values_are_cut(self, toy: Path) -> None:
        assert f"| `text` | `{'x' * 59}…` | Long |" in render(toy)

    def test_settings_of_our_configs(self, toy: Path) -> None:
        section = render(toy).split("## configs/ours.cfg")[1].split("##")[0]
        assert section.splitlines()[2:] == [
            "What it does.",
            "",
            "| section | setting | value | what it is |",
            "| --- | --- | --- | --- |",
            r'| `[limits]` | `texts`<br>`words` | `3`<br>`"a\|b"` | At most; `a\|b` |',
            "| `[rest]` |  |  | Of the rest |",
            "",
        ]

    def test_trained_configs_and_providers_are_named_only(self, toy: Path) -> None:
        page = render(toy)
        assert "| `configs/small.cfg` | A small one. |" in page
        assert "| `fake` | A fake. |" in page
        assert "steps" not in page

    def test_without_providers_or_trained_configs(self, toy: Path) -> None:
        (toy / "configs" / "small.cfg").unlink()
        (toy / "configs" / "providers" / "fake.cfg").unlink()
        page = render(toy)
        assert "Providers" not in page
        assert "trained" not in page

    def test_aligned_lines_stay_as_they_are(self) -> None:
        assert reference.prose(("One:", "  a  b")) == "```text\nOne:\n  a  b\n```"

    def test_markdown_in_comments_is_code(self) -> None:
        told = reference.sentence(("Which of configs/*.cfg, or (en_x), at http://a:<port>;", "`b_*` stays."))
        assert told == "Which of `configs/*.cfg`, or (`en_x`), at `http://a:<port>`; `b_*` stays."

    def test_a_backtick_in_a_value(self) -> None:
        assert reference.code("a`b") == "`` a`b ``"


class TestOurs:
    def test_it_is_up_to_date(self) -> None:
        current = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
        assert render(ROOT) == current, "run `weasel run reference`"

    def test_every_var_has_a_comment(self) -> None:
        text = (ROOT / "project.yml").read_text(encoding="utf-8")
        _, groups = commented.read_vars(text)
        assert [name for group in groups if not group.comment for name, _ in group.settings] == []
        told = [name for group in groups for name, _ in group.settings]
        assert told == list(srsly.yaml_loads(text)["vars"])

    def test_every_config_says_what_it_is(self) -> None:
        paths = sorted((ROOT / "configs").rglob("*.cfg"))
        configs = {path: commented.read_config(path.read_text(encoding="utf-8")) for path in paths}
        assert [path.name for path, config in configs.items() if not config.comment] == []


class TestCommand:
    def test_check_tells_a_stale_page(self, toy: Path, capsys: pytest.CaptureFixture) -> None:
        page = toy / "docs" / "reference.md"
        options = ["--project", toy / "project.yml", "--configs", toy / "configs", "--output", page]
        assert run_command("reference", [*options, "--check"], capsys).status == 1
        assert not page.exists()
        assert run_command("reference", options, capsys).status == 0
        assert run_command("reference", [*options, "--check"], capsys).status == 0
        stale = page.read_text()
        (toy / "configs" / "ours.cfg").write_text(OURS.replace("3", "4"))
        outcome = run_command("reference", [*options, "--check"], capsys)
        assert outcome.status == 1
        assert "no longer matches" in outcome.output
        assert page.read_text() == stale
        assert run_command("reference", options, capsys).status == 0
        assert "`4`" in page.read_text()

    def test_missing_project_or_configs(self, toy: Path) -> None:
        with pytest.raises(UserError, match="there is no such file"):
            reference.render(toy / "nope.yml", toy / "configs")
        with pytest.raises(UserError, match="there is no such folder"):
            reference.render(toy / "project.yml", toy / "nope")
