"""The Grafana dashboards.

Declared as a table (`panels`), written as JSON (`files`), tried on a real Prometheus (`check`).
"""
