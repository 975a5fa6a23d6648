"""Bridges role: external databases and sites mapped into rooms."""
