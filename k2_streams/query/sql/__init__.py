"""SQL over the relations: one SELECT, checked, pruned, read at a read point, and proven."""
