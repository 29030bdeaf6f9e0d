"""What the jobs share: settings -> parts -> trained networks -> scores."""
