"""Media: taking it in, giving it out, keeping it in bounds.  See docs/subsystems/media.md."""
