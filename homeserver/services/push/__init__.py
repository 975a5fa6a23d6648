"""What users are told of events beside the events themselves: unread counts, notifications, pushes."""
