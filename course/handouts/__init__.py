"""What a release needs beyond its files: trained networks and data, made by a script."""
