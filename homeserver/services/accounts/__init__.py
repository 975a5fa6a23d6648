"""Accounts: registration, login, sessions, interactive authentication, devices, profiles, administration."""
