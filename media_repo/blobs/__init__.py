"""Stores of blobs. Each implements `ports.blobs.BlobStore`; `homeserver.boot` makes those that are configured."""
