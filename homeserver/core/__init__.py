"""The pure core: no await, clock, randomness, socket or framework. Everything here is a function of its arguments."""
