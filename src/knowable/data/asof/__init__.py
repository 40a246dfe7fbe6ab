"""What was known when: facts in memory, panels, windows, joins."""
