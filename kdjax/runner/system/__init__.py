"""The machine: devices, processes, work folders, versions."""
