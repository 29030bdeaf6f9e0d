"""Training: state, steps, the loop over epochs, devices, saved networks."""
