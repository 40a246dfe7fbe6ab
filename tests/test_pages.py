"""Writing a page, and filling a template."""

import pytest

from knowable.errors import InputError
from knowable.pages import template, write_page


def test_a_page_makes_its_folders_and_replaces_an_older_one_and_leaves_nothing_else(tmp_path):
    path = write_page("old", str(tmp_path / "a" / "b.html"))
    assert write_page("new \ud83d and cut", path) == path
    assert path.read_bytes() == b"new ? and cut"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("path", [None, 3, b"report.html", "", "a\0.html"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(InputError, match=r"`path` must name a file, such as 'report\.html', but it is"):
        write_page("text", path)


def test_a_folder_is_refused_with_a_file_in_it_as_the_remedy(tmp_path):
    with pytest.raises(InputError, match="is the folder") as refusal:
        write_page("text", tmp_path)
    assert str(tmp_path / "report.html") in str(refusal.value)


def test_a_path_under_a_file_is_told(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"(?s)cannot be written to .*notes\.txt.*Give a path in a folder"):
        write_page("text", tmp_path / "notes.txt" / "deep" / "report.html")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_page_that_cannot_take_its_place_leaves_nothing(tmp_path, monkeypatch):
    def full(self, target):
        raise OSError("no space")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(InputError, match=r"(?s)cannot be written to .*a\.html.*no space"):
        write_page("text", tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


def test_a_template_that_lacks_a_value_fails():
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError, match="undefined"):
        template("knowable.data.quality", "page.html.j2").render()
