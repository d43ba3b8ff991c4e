"""The real Foundry of the person at this shell: where it is, and who that person is there."""
