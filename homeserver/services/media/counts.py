"""What happened to media since the process started, for whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class MediaCounts:
    """Numbers that only grow. Each is a metric `hromada_media_…_total`."""

    uploads: int = 0
    """Contents taken in: uploads, pictures of previews, media of other servers."""
    uploaded_bytes: int = 0
    lost: int = 0
    """Readings of content that its store has lost."""
    store_failures: int = 0
    """Requests that a store did not serve, or for which the disk was full."""
    thumbnails: int = 0
    """Thumbnails made."""
    thumbnails_refused: int = 0
    """Contents that could not be made smaller."""
    thumbnails_busy: int = 0
    """Thumbnails not made since too many waited, or workers died."""
