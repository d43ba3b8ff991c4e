"""A module under load: `result` is what `cm bench` measured, and what `cm plan` reads."""
