"""What other packages add by entry points."""
