"""Asking language models: registered spacy-llm models, one cache, one executor for any provider."""
