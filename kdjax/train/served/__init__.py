"""Teachers behind an endpoint: its protocol, how it is asked, the `Teacher`."""
