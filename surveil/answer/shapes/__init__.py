"""The documents that `--json` prints and the HTTP API sends, described: what each key holds, and what it means.

What belongs here: the contract of the package. What does not: the words in which keys are described (`kinds`), the
documents of builds and all that belongs to them (`building`), those of the installation and of what it keeps
(`keeping`), and making documents (`surveil.answer.views` and its siblings).

They are data, and nothing is held against them while surveil runs: the reference page and the description of the API
are written from them, and tests hold what is printed and sent against them.
"""
