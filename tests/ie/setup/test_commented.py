"""A comment is about the settings below it, up to the next comment, blank line or section."""

from ie.setup.commented import Config, Group, Section, read_config, read_vars

PROJECT = """title: "A"
# All of them,
# in two lines.
vars:
  # Where it is
  # and how.
  port: 80
  hosts: "a:b # c"

  alone: 1
  # Said of none

# No comment of the vars
  # Longer
  text: one
    two
directories: ["a"]
commands:
  - name: "x"
"""

CONFIG = """# The file,
#   with columns

# The first
[first]
a = 1
@b = "x = y"
# Of c and d
c.d = [1,
  2]
d =

e = 5
# Of the second
[second]
# Of f
f = "[third]"

# [fourth]
# g = 1

[second.empty]
"""


class TestVars:
    def test_comment_is_about_all_vars_up_to_the_next(self) -> None:
        about, groups = read_vars(PROJECT)
        assert about == ("All of them,", "in two lines.")
        assert groups == [
            Group(("Where it is", "and how."), (("port", "80"), ("hosts", '"a:b # c"'))),
            Group((), (("alone", "1"),)),
            Group(("No comment of the vars", "Longer"), (("text", "one two"),)),
        ]

    def test_project_without_vars(self) -> None:
        assert read_vars("title: A\ncommands: []") == ((), [])

    def test_file_that_ends_with_them(self) -> None:
        assert read_vars("vars:\n  a: 1") == ((), [Group((), (("a", "1"),))])


class TestConfig:
    def test_comments_of_the_file_its_sections_and_settings(self) -> None:
        assert read_config(CONFIG) == Config(
            ("The file,", "  with columns"),
            (
                Section(
                    "first",
                    (
                        Group(("The first",), (("a", "1"), ("@b", '"x = y"'))),
                        Group(("Of c and d",), (("c.d", "[1, 2]"), ("d", ""))),
                        Group((), (("e", "5"),)),
                    ),
                ),
                Section(
                    "second",
                    (
                        Group(("Of the second",)),
                        Group(("Of f",), (("f", '"[third]"'),)),
                        Group(("[fourth]", "g = 1")),
                    ),
                ),
                Section("second.empty", ()),
            ),
        )

    def test_first_comment_is_about_the_file(self) -> None:
        found = read_config("# The file\n[a]\nb = 1\n# Of c\n[c]\nd = 1")
        assert found.comment == ("The file",)
        assert [section.groups[0].comment for section in found.sections] == [(), ("Of c",)]

    def test_no_comment_and_no_section(self) -> None:
        assert read_config("[a]\nb = 1").comment == ()
        assert read_config("# Only this") == Config(("Only this",), ())
