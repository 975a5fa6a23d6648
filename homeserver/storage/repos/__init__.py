"""Repositories: one module per port."""
