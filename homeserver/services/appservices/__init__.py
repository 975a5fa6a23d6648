"""Application services: who is registered, and who they act as."""
