"""Webhooks: what sites send becomes messages, and what is said in rooms is sent to sites. docs/bridges/webhooks.md"""
