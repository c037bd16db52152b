"""Headers of CSV files: names, numbers of columns, and lines before them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from chronotope.contracts.errors import SchemaError, SourceError
from chronotope.datasets.table_spec import TableSpec
from tests.datasets.files.test_csv_dialects import read

GOWALLA = b"7\t2024-03-04T08:00:00Z\t30.2\t-97.7\t22801\n8\t2024-03-04T09:00:00Z\t30.3\t-97.8\t5\n"


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        (("0", "1", "4"), {}),
        (("1", "2", "5"), {}),
        (("1", "2", "5"), {"header": False}),
        (("u", "t", "i"), {"header": False, "names": ("u", "t", "x", "y", "i")}),
        (("u", "t", "i"), {"names": ("u", "t", "x", "y", "i")}),
    ],
)
def test_headerless_columns_by_number_or_name(
    columns: tuple[str, ...], options: dict[str, object]
) -> None:
    rows, counts, _ = read(GOWALLA, columns, delimiter="\\t", **options)
    assert rows[0] == ("7", "2024-03-04T08:00:00Z", "22801")
    assert (len(rows), counts.n_header) == (2, 0)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (("7", "2024-03-04T08:00:00Z"), {}, "looks like an event.*header: false"),
        (("1", "2"), {}, "may count from 0 or from 1.*header: false"),
        (("user", "time"), {}, "Columns missing.*header: false and names"),
        (("1", "9"), {"header": False}, "Columns missing.*9"),
        (("a", "b"), {"names": ("a", "b")}, "has 5 columns, and names lists 2"),
    ],
)
def test_a_first_line_is_never_eaten(
    columns: tuple[str, ...], options: dict[str, object], message: str
) -> None:
    with pytest.raises(SchemaError, match=message):
        read(GOWALLA, columns, delimiter="tab", **options)


def test_one_of_two_characters_as_delimiter_is_named() -> None:
    content = b"1::1191::2::1709539200\n"
    with pytest.raises(SchemaError, match='delimiter: "::"'):
        read(content, ("1", "2", "4"), delimiter=":")
    assert read(content, ("1", "2", "4"), delimiter="::")[0] == [("1", "1191", "1709539200")]


@pytest.mark.parametrize(("delimiter", "shown"), [(";", '";"'), ("\t", r'"\\t"'), ("::", '"::"')])
def test_the_delimiter_of_the_header_is_named(delimiter: str, shown: str) -> None:
    content = delimiter.join(["user", "item", "t"]).encode() + b"\n"
    with pytest.raises(SchemaError, match=f"Set delimiter: {shown}"):
        read(content, ("user", "item", "t"))


def test_numbers_that_are_the_header_stay_names() -> None:
    assert read(b"0,1,2\na,b,c\n", ("0", "2"))[0] == [("a", "c")]
    assert read(b"2,1\na,b\n", ("1", "2"), header=True)[0] == [("b", "a")]


@pytest.mark.parametrize(
    ("content", "options", "n_comment", "n_skipped"),
    [
        (b"# made by X\n#\nuser,item\n1,a\n", {}, 2, 0),
        (b"#user,item\n1,a\n", {}, 0, 0),
        (b"# user,item\n1,a\n", {}, 0, 0),
        (b"// x\nuser,item\n// y,z\n1,a\n", {"comment": "//"}, 2, 0),
        (b"Report\nof March\nuser,item\n1,a\n", {"skip_rows": 2}, 0, 2),
        (b"sep=;\nuser;item\n1;a\n", {}, 0, 1),
        (b'"sep=;"\r\nuser;item\r\n1;a\r\n', {}, 0, 1),
        (b"\n \nuser,item\n1,a\n", {}, 0, 0),
    ],
)
def test_lines_before_the_header(
    content: bytes, options: dict[str, object], n_comment: int, n_skipped: int
) -> None:
    rows, counts, refused = read(content, ("user", "item"), **options)
    assert (rows, refused) == ([("1", "a")], [])
    assert (counts.n_comment, counts.n_skipped, counts.n_header) == (n_comment, n_skipped, 1)
    assert counts.is_balanced


def test_the_line_of_the_header_is_told() -> None:
    with pytest.raises(SchemaError, match="Line 3 has these columns: set skip_rows: 2"):
        read(b"Report\nof March\nuser,item\n1,a\n", ("user", "item"))


def test_repeated_headers_are_refused_lines() -> None:
    rows, counts, refused = read(b"user,item\n1,a\nuser,item\n2,b\n", ("user", "item"))
    assert (rows, refused) == ([("1", "a"), ("2", "b")], [(3, "user,item")])
    assert counts.n_header == 1


def test_spaces_after_each_delimiter_of_the_header_are_no_part_of_values() -> None:
    content = b'user, item\n1, a \n2, "b, c"\n 3,d\n'
    expected = [("1", "a "), ("2", "b, c"), (" 3", "d")]
    assert read(content, ("user", "item"))[0] == expected
    assert read(content, ("user", " item"))[0] == expected
    assert read(b"user, item\n1, a\n", ("user", "item"), skip_initial_space=False)[0] == [
        ("1", " a")
    ]
    assert read(b"user,item\n1, a\n", ("user", "item"))[0] == [("1", " a")]


def test_a_name_of_two_columns_is_refused_only_if_mapped() -> None:
    content = b"user,item,x,x\n1,a,2,3\n"
    assert read(content, ("user", "item"))[0] == [("1", "a")]
    with pytest.raises(SchemaError, match=r"2 columns named 'x'.*names"):
        read(content, ("user", "x"))
    names = ("user", "item", "x", "y")
    assert read(content, ("user", "y"), header=True, names=names)[0] == [("1", "3")]


@pytest.mark.parametrize(
    ("word", "content"),
    [
        ("tab", b"user\titem\n1\ta\n"),
        ("\\t", b"user\titem\n1\ta\n"),
        ("semicolon", b"user;item\n1;a\n"),
        ("Pipe", b"user|item\n1|a\n"),
        ("comma", b"user,item\n1,a\n"),
        ("space", b"user item\n1 a\n"),
        ("whitespace", b"  user \t item \n1   a\n"),
        ("::", b"user::item\n1::a\n"),
    ],
)
def test_words_for_delimiters(word: str, content: bytes) -> None:
    assert read(content, ("user", "item"), delimiter=word)[0] == [("1", "a")]


@pytest.mark.parametrize(
    "options", [{"delimiter": '"'}, {"delimiter": "\n"}, {"quote": ",,"}, {"escape": ","}]
)
def test_impossible_dialects(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TableSpec.model_validate({"format": "csv", "path": "x", "columns": {}} | options)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("user,item\n1,a\n".encode("utf-16"), {}, "mark of utf-16.*encoding: utf-16"),
        ("\ufeffuser,item\n1,a\n".encode(), {"encoding": "latin-1"}, "encoding: utf-8"),
        ("user,item\n1,a\n".encode("utf-16-le"), {}, "encoding: utf-16-le"),
        ("user,item\n1,a\n".encode("utf-16-be"), {}, "encoding: utf-16-be"),
    ],
)
def test_marks_of_another_encoding(
    content: bytes, options: dict[str, object], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        read(content, ("user", "item"), **options)


def test_undecodable_lines_are_refused_alone(tmp_path: Path) -> None:
    content = "user,item\n1,ü\n2,b\n".encode() + b"3,\xe9\n" + "4,東\n".encode()
    rows, _, refused = read(content, ("user", "item"))
    assert (rows, refused) == ([("1", "ü"), ("2", "b"), ("4", "東")], [(4, "3,\\xe9")])
    gbk = "user,item\n1,张\n".encode("gbk") + b"2,\xff\n3,b\n"
    rows, _, refused = read(gbk, ("user", "item"), encoding="gbk")
    assert (rows, refused) == ([("1", "张"), ("3", "b")], [(3, "2,\\xff")])


def test_names_replace_a_header_that_is_shorter_than_the_rows() -> None:
    content = b"user,item\n" + b"1,a,\n2,b,\n" * 6
    with pytest.raises(SourceError, match=r"3 columns instead of 2.*header: true and names"):
        read(content, ("user", "item"))
    rows, _, _ = read(content, ("user", "item"), header=True, names=("user", "item", "end"))
    assert rows == [("1", "a"), ("2", "b")] * 6
