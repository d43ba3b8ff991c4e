"""The local Foundry: what a compute module talks to on this machine, in either mode.

`site` is what a module runs in, whatever its mode: TLS servers, mounted files (`mounts`, `sources`) and
replicas (`replica`), with a `reporter` that hears of it all. `function` answers calls through it,
`pipeline` runs a pipeline, and `platform` has the data that both see. `panel` is the way in for people.
"""
