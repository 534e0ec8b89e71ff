import pytest

from ie.core.errors import UserError
from ie.data.gazetteer import read_gazetteer


def test_entries_with_aliases_and_other_columns(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(
        '\ufeffid,name,aliases,country\r\n1,Hooli,Hooli Inc.| Hooli XYZ |,US\r\n2,"Foo, Inc.",,\r\n'.encode()
    )
    hooli, foo = read_gazetteer(path)
    assert (hooli.id, hooli.name, hooli.aliases) == ("1", "Hooli", ("Hooli Inc.", "Hooli XYZ"))
    assert hooli.columns == {"country": "US"}
    assert (foo.name, foo.aliases) == ("Foo, Inc.", ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: no column id, name (it has none)"),
        ("id,aliases\n1,A\n", ":1: no column name (it has id, aliases)"),
        ("id,name,aliases\n", ": there is no entry"),
        ("id,name,aliases\n1,A,\n1,B,\n", ":3: the id '1' is already used by line 2"),
        ("id,name,aliases\n1,A,\n2,Foo, Inc.,\n", ":3: 4 fields under 3 columns"),
        ("id,name,aliases\n1,A\n", ":2: 2 fields under 3 columns"),
        ("id,name,aliases\n1, ,\n", ":2: id and name must not be empty"),
        ("id,name,aliases\n\n1,A,\n", ":2: the line is empty"),
        ('id,name,aliases\n1,"A"B,\n', ":2: not valid CSV"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_gazetteer(path)
    assert str(caught.value).startswith(f"{path}{message}")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        read_gazetteer(tmp_path / "none.csv")
    with pytest.raises(UserError, match="this is a folder"):
        read_gazetteer(tmp_path)
    (tmp_path / "a.csv").write_bytes(b"id,name,aliases\n1,caf\xe9,\n")
    with pytest.raises(UserError, match=r"a\.csv:2: not UTF-8"):
        read_gazetteer(tmp_path / "a.csv")


def test_aliases_are_optional(tmp_path):
    (tmp_path / "a.csv").write_text("id,name,country\n1,Hooli,US\n", encoding="utf-8")
    (hooli,) = read_gazetteer(tmp_path / "a.csv")
    assert (hooli.name, hooli.aliases, hooli.columns) == ("Hooli", (), {"country": "US"})
