"""A topology in words: what it reads, keeps and writes, and under which names. Needs no broker."""
