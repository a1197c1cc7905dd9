"""The Iceberg table of trades: written by compare-and-set on an offset vector, read by snapshot."""
