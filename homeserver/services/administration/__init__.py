"""What administrators of the server see and do, beyond what belongs to single subjects."""
