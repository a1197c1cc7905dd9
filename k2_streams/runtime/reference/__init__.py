"""The generated pages of `docs/reference`: each is made of the declarations that it describes."""
