"""What the commands share, by subject. No module here knows a command."""

import sys

# weasel hashes folders with the __pycache__ in them, so compiled modules would make commands run again.
sys.dont_write_bytecode = True
