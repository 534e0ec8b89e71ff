"""Where the project stands, its weakest spot, and the command to run next."""
