"""`vgrout view`: a local, read-only web page over run directories."""
