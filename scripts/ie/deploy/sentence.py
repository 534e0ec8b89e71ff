"""The text that a finished pipeline is tried on."""

# Not the value of vars.sentence, as a variable of project.yml can't hold the dollar sign.
DEMO = "Hooli raises $5m to revolutionize search, led by ACME Ventures"
