"""Documents (PDF, DOCX, HTML, EML, Markdown) as texts that know where in the document they stand.

`reading.read_document` gives the blocks of a file, one module per format; `cutting` divides them into texts.
`collection` reads a file or a folder, in a process of its own, as parsers may hang or crash on broken files.
"""
