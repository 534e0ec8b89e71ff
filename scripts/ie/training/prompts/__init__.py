"""The search for a better prompt of the language model, on reviewed texts."""
