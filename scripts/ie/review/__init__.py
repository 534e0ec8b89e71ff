"""Review in the browser: questions, order of the texts, answers on disk, and agreement."""
