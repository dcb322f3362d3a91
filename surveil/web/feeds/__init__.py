"""What others show of builds: a badge for a README, CCTray's document for what lights lamps, an Atom feed for readers.

What belongs here: the contract of the package. What does not: pages, and the documents of the API:

* `badge` draws how a branch stands; `cctray` and `atom` say it of many, each in the words of its format.
* `asking` lets in whoever may see that; `drawing` fills the templates; `route` has the addresses.

All of them are read by programs that know no cookies, and are asked again and again. So each answer has a mark
(`ETag`), whoever shows it again is told only that nothing changed, and nobody may keep one without asking.
"""
