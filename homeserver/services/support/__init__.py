"""Support chats on websites: sites, visitors, cases, the desk where staff answer. See docs/subsystems/widget.md."""
