"""`init`: a project for the user's own texts and labels."""
