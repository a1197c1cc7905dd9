"""Where Faust meets K2: fetching, flow control, the web server."""
