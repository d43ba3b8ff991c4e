"""The query panel: a web page and its JSON API, on loopback."""
