"""What `grok-sweep init` writes."""
