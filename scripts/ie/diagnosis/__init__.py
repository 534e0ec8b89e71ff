"""Which bit is broken? Hypotheses on data and training, each with a test to refute it (slides 38-49)."""
