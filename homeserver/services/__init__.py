"""What the server does: use cases over ports and core. Imports neither storage, bus nor web."""
