"""Package and model card, service, and bulk annotation."""
