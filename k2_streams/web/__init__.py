"""The HTTP side of K2: routes, their middlewares, the formats of an answer, and the page."""
