"""Tokens and cursors: what is written is read, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.query.packing import pack, unpack
from k2_streams.query.token import (
    MAX_INT64,
    MAX_TEXT,
    Cursor,
    Key,
    StreamToken,
    Token,
    TokenError,
)
from k2_streams.web.http.security import MAX_QUERY_LENGTH

number = st.integers(0, 2**63 - 1)
tokens = st.builds(
    Token, st.text(max_size=22), st.dictionaries(st.integers(0, 2**31 - 1), number), number, number
)
keys = st.builds(Key, number, number, number, number)


@given(tokens, keys, st.booleans())
def test_round_trip(token, key, descending):
    assert Token.decode(token.encode()) == token
    cursor = Cursor(token, key, ("A",), (), None, 5, descending, 10, 7)
    assert Cursor.decode(cursor.encode()) == cursor


@given(tokens, st.none() | st.dictionaries(st.integers(0, 9), number), st.none() | number)
def test_a_subscription_goes_on_to_the_end_that_it_had(token, end, start_ns):
    stands = StreamToken(token, end, (3, 2), None, 5, 6, 7, 8, start_ns)
    assert StreamToken.decode(stands.encode()) == stands


def test_the_token_of_a_subscription_from_before_its_end_was_packed_is_read():
    old = StreamToken.decode(
        "AlOYlKV0b3BpY8QMIgABAAQB7_____8fzxeXnP42KgAAAIIAFAPPAAACAAAAAACSAwLABQYHCFwfvpI"
    )
    token = Token("topic", {0: 17, 3: 2**40}, 1_700_000_000_000_000_000, 0)
    assert old == StreamToken(token, {0: 20, 3: 2**41}, (3, 2), None, 5, 6, 7, 8)


@given(tokens, st.data())
def test_a_changed_character_is_noticed(token, data):
    text = token.encode()
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("Az09-_").filter(lambda c: c != text[at]))
    changed = text[:at] + other + text[at + 1 :]
    try:
        found = Token.decode(changed)
    except TokenError:
        return
    assert found == token  # only bits that base64 does not use were changed


@given(st.text())
def test_no_text_does_worse_than_a_token_error(text):
    for kind in (Token, Cursor):
        with pytest.raises(TokenError):
            kind.decode(text)


def test_the_bytes_stay_what_they_are():
    token = Token("topic", {0: 17, 3: 2**40}, 1_700_000_000_000_000_000, 0)
    text = token.encode()
    assert text == "AlSUpXRvcGljxAwiAAEABAHv_____x_PF5ec_jYqAAAATSZOXA"
    assert Token.decode(text) == token


def test_a_token_does_not_say_what_waited_by_leaving_it_out():
    with pytest.raises(TypeError):
        Token("topic", {}, 0)


@pytest.mark.parametrize(
    "text",
    [
        "AVSUpXRvcGljggARA88AAAEAAAAAAM8Xl5z-NioAAAADhDRg",
        "AVSTpXRvcGljggARA88AAAEAAAAAAM8Xl5z-NioAAM_aFRk",  # from before records were deferred
    ],
)
def test_a_token_of_version_1_is_read(text):
    old = Token.decode(text)
    assert old == Token("topic", {0: 17, 3: 2**40}, 1_700_000_000_000_000_000, 0)


def test_a_cursor_of_version_1_is_read():
    old = Cursor.decode(
        "AUOalKV0b3BpY4IAEQPPAAABAAAAAADPF5ec_jYqAAAFlAECAwSRoUGRoVgFwMMKB6hyZXBvcnRlZKBfbBg"
    )
    token = Token("topic", {0: 17, 3: 2**40}, 1_700_000_000_000_000_000, 5)
    assert old == Cursor(
        token, Key(1, 2, 3, 4), ("A",), ("X",), 5, None, descending=True, limit=10, asked=7
    )


@given(st.dictionaries(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)))
def test_what_is_packed_is_unpacked(offsets):
    assert unpack(pack(offsets)) == offsets


@given(st.binary(max_size=64))
def test_no_bytes_do_worse_than_a_value_error(data):
    try:
        offsets = unpack(data)
    except ValueError:
        return
    assert len(offsets) <= len(data)


@pytest.mark.parametrize("largest", [2**31, 2**48, MAX_INT64])
def test_a_token_of_every_allowed_number_of_partitions_fits_a_request(largest):
    """Offsets that have no bytes in common: the worst that packing can meet."""
    offsets = {partition: largest - partition * (largest // 1_000) for partition in range(1_000)}
    token = Token("A" * 22, offsets, MAX_INT64, MAX_INT64)
    text = token.encode()
    assert Token.decode(text) == token
    assert len(f"as_of={text}") <= MAX_QUERY_LENGTH - 3_000, "and some symbols beside it"


def test_a_cursor_of_1000_partitions_and_50_long_symbols_fits_a_request():
    offsets = {partition: 2**48 - partition * 2**38 for partition in range(1_000)}
    token = Token("A" * 22, offsets, MAX_INT64, MAX_INT64)
    symbols = tuple(f"{n:064}" for n in range(50))
    after = Key(MAX_INT64, 999, MAX_INT64, MAX_INT64)
    cursor = Cursor(token, after, symbols, (), 1, None, descending=False, limit=9, asked=7)
    text = cursor.encode()
    assert len(text) <= MAX_TEXT
    assert len(f"cursor={text}") <= MAX_QUERY_LENGTH
    assert Cursor.decode(text) == cursor


@pytest.mark.parametrize("gone", [0, 1, 500, 999])
def test_a_subscription_to_an_end_of_1000_partitions_fits_a_request(gone):
    """Wherever it stands: partitions of up to 3.4e10 records, no two alike."""
    end = {partition: 2**35 - partition * 2**25 for partition in range(1_000)}
    offsets = {partition: at * gone // 1_000 for partition, at in end.items()}
    after = Key(MAX_INT64, 999, MAX_INT64, MAX_INT64)
    token = Token("A" * 22, offsets, MAX_INT64, MAX_INT64)
    numbers = (MAX_INT64, MAX_INT64, 2**64 - 1, 2**32 - 1, MAX_INT64)
    stands = StreamToken(token, end, (999, MAX_INT64), after, *numbers)
    text = stands.encode()
    assert len(text) <= MAX_TEXT
    assert len(f"from={text}") <= MAX_QUERY_LENGTH - 2_500, "and some symbols beside it"
    assert StreamToken.decode(text) == stands
