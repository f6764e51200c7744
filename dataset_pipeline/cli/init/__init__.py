"""`init`: a new project with a commented spec, guessed from a file or a folder where one is given.

Lives here: looking at what was given (`given`, `sniffing`, `encodings`), its first rows (`first_rows`, `record_lists`),
the guess (`guessing`, `columns`), showing it (`glimpse`) and writing it down (`spec_text`). Keep out: running anything.
"""
