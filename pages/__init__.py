"""The screens. Thin: read state, call one function of the core, draw."""
