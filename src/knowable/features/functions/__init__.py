"""The free functions of the language, by what they look at. Most are methods of `Feature` too: the very same."""
