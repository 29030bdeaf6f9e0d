"""What the jobs share: settings -> setup -> trained networks -> scores."""
