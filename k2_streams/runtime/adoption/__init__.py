"""An app whose broker was lost goes on: topics and state are rebuilt from the lake."""
