"""How an endpoint is declared: its parameters, its handler and its answer, each once."""
