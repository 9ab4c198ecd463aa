"""How well two songs were brought together: transitions found, measured, scored and put into words. Pure and deterministic."""
