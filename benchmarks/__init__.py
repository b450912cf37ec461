"""Accuracy and speed beside torch's own losses; reduced runs are part of the tests."""
