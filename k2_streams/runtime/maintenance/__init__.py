"""Keeps the tables small while the worker runs."""
