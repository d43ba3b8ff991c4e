"""The local platform: datasets, streams, media sets and the Ontology as the official client calls them.

`app` puts it together, `registry` has every resource by its RID, `resources` says what one is and
where it lies, `data` which ones a function sees. `access` lets callers in, `errors` and `requests` are
the form of answers and calls, `faults` go wrong on purpose. `datasets`, `streams`, `media` and
`ontologies` have routes and store side by side; `tables` reads rows and `digests` knows files by their
content. `scratch` is open to each module that has it, whatever its permissions.
"""
