"""What a symbol may be: the venue's own name of an instrument, in any script.

One definition for every place that a symbol passes: record keys, feeds, queries, tables of
instruments. Normalisation is the sender's: two spellings of one name would be two instruments, so a
name that is not in NFC is refused, never changed.
"""

import unicodedata

MAX_SYMBOL_CHARS = 64
#: The rule, for messages.
SYMBOL_RULE = f"1 to {MAX_SYMBOL_CHARS} printable Unicode characters in NFC"


def is_symbol(text: str) -> bool:
    """Whether a text is 1 to 64 characters of printable Unicode in NFC.

    The ASCII blank is printable: option symbols hold blanks. Control, format, private-use,
    surrogate and unassigned characters are not, nor is any other blank.
    """
    if not (0 < len(text) <= MAX_SYMBOL_CHARS and text.isprintable()):
        return False
    return text.isascii() or unicodedata.is_normalized("NFC", text)
