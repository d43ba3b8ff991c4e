"""The Ontology of the local platform, from plain files in `data/ontology/`.

`schema` is what a person says of the types, `values` what fits a type, `files` reads objects and links.
`store` has the state: what the files say, and what actions have edited since. `filters` and `aggregations`
are questions about objects, `actions` edit them, `shapes` is how the API shows types and objects, and
`routes` and `action_routes` are what the client calls.
"""
