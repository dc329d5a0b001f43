"""Whether a unit is a well isolated neuron, several of them, or none."""
