"""The documentation as a site: the same Markdown files, with a search and a list of pages."""
