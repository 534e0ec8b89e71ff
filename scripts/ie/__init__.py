"""What the commands share, by subject. No module here knows a command."""
