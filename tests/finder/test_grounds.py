"""Photos without birds: half train the finder, half evaluate it."""

from pathlib import Path

from fieldmark.finder.grounds import split_grounds


def test_half_of_the_grounds_are_held_out_and_a_name_decides_which():
    files = [Path(f"photos/{number:03}.jpg") for number in range(200)]
    train, held_out = split_grounds(files)
    assert sorted(train + held_out) == files
    assert 70 < len(train) < 130
    few = [Path("elsewhere") / file.name for file in files[::7]]
    assert {file.name for file in split_grounds(few)[0]} < {file.name for file in train}
