"""Other tools' formats, one module each, all with `read` and `write`; what a format can't hold is counted.

Each module's `read(path, job)` yields (place, Record) and its `write(path, records, job)` writes a file, all
or nothing. Both add to `job.lost` whatever doesn't arrive, by the name of the field.
"""
