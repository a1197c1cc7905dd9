"""Tokens and cursors: what is written is read, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2_streams.query.token import Cursor, Key, Token, TokenError

number = st.integers(0, 2**63 - 1)
tokens = st.builds(
    Token, st.text(max_size=22), st.dictionaries(st.integers(0, 2**31 - 1), number), number
)
keys = st.builds(Key, number, number, number, number)


@given(tokens, keys, st.booleans())
def test_round_trip(token, key, descending):
    assert Token.decode(token.encode()) == token
    cursor = Cursor(token, key, ("A",), (), None, 5, descending, 10, 7)
    assert Cursor.decode(cursor.encode()) == cursor


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
    token = Token("topic", {0: 17, 3: 2**40}, 1_700_000_000_000_000_000)
    assert token.encode() == "AVSUpXRvcGljggARA88AAAEAAAAAAM8Xl5z-NioAAAADhDRg"


def test_a_token_from_before_deferral_is_read():
    old = Token.decode("AVSTpXRvcGljggARA88AAAEAAAAAAM8Xl5z-NioAAM_aFRk")
    assert old == Token("topic", {0: 17, 3: 2**40}, 1_700_000_000_000_000_000, 0)
