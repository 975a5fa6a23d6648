"""What belongs to one user only: account data, filters, and later receipts, typing, presence and push rules."""
