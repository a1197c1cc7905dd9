"""K2 Streams: market trades, complete and provably so."""
