"""Files are replaced whole or not at all."""

import hashlib

import pytest

from fieldmark.files import atomic_path, read_json, sha256_file, write_json, write_text


def test_a_file_that_fails_to_be_written_keeps_its_old_content(tmp_path):
    file = tmp_path / "new" / "card.txt"
    write_text(file, "old")

    def fail():
        with atomic_path(file) as scratch:
            scratch.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]


def test_json_is_read_as_it_was_written_and_a_missing_file_is_empty(tmp_path):
    card = {"name": "Grünfink", "values": [1, 2.5, None]}
    write_json(tmp_path / "card.json", card)
    assert read_json(tmp_path / "card.json") == card
    assert "Grünfink" in (tmp_path / "card.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "none.json") == {}


def test_a_digest_is_that_of_the_files_bytes(tmp_path):
    (tmp_path / "birds").write_bytes(b"abc" * 10**6)
    assert sha256_file(tmp_path / "birds") == hashlib.sha256(b"abc" * 10**6).hexdigest()
