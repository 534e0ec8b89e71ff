"""Records, label scheme, split, corpora, tokenizer and other tools' formats."""
