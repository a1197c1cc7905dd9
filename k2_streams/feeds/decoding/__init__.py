"""What decoders share: columns, decimals, keys, message kinds."""
