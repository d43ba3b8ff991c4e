"""Function mode: `foundry` runs a module and calls it, `server` has the routes that its replicas poll,
`jobs` is the queue between them."""
