"""Corporate actions, identity and universes, as known at the time."""
