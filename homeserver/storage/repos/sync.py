"""SQL for `ports.sync`: windows of many rooms, one statement each."""
