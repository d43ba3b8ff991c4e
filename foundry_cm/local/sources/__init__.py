"""Sources on this machine: `declared` reads them and has what Foundry mounts for them, `standin` answers
in place of a system outside, with what `answers` reads; `recording` writes that, and `redaction` keeps
secrets out of it."""
