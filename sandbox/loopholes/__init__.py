"""The loopholes: a file each for the four that come with vGROUT, and the reader of plug-in files."""
